//! `truechimer db status`.

use risk::phrase::size;
use serde::Serialize;
use store::Store;
use store::storage::Disk;
use store::tiers::StorageReport;
use store::time::from_sql;

use crate::admin::table;
use crate::config::Config;
use crate::output::say;
use crate::postgres;

/// Everything that is printed, and what `--json` prints.
#[derive(Debug, Serialize)]
struct Status {
    postgres: String,
    schema_version: Option<i64>,
    schema_known: i64,
    bytes: i64,
    wal_bytes: Option<i64>,
    /// Where the private cluster is; null: an external server, whose disk is not ours to see.
    disk_free_bytes: Option<u64>,
    connections: i64,
    max_connections: i64,
    transaction_age: i64,
    oldest_sample_after: Option<String>,
    newest_sample: Option<String>,
    growth: Option<Growth>,
    last_backup: Option<LastBackup>,
    tiers: Vec<Tier>,
    tables: Vec<Table>,
}

/// What the tiers take up in the long run.
#[derive(Debug, Serialize)]
struct Growth {
    bytes_per_day: i64,
    /// Once each is as old as retention lets it become.
    bytes_at_retention: i64,
    /// Until the disk is full; null: it will not be, or its size is not known.
    days_until_full: Option<f64>,
}

#[derive(Debug, Serialize)]
struct LastBackup {
    made_at: String,
    bytes: i64,
    file: String,
}

/// As in view fleet.storage.
#[derive(Debug, Serialize)]
struct Tier {
    name: String,
    kept_days: f64,
    bytes: i64,
    bytes_per_day: Option<i64>,
    bytes_at_retention: Option<i64>,
    holds_from: Option<String>,
    holds_until: Option<String>,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    bytes: i64,
    heap_bytes: i64,
    index_bytes: i64,
    toast_bytes: i64,
    rows: i64,
    partitions: i64,
    dead_rows: i64,
    vacuumed_at: Option<String>,
}

/// Prints how large the database is, how it grows and how it is kept.
///
/// # Errors
/// The database does not answer.
pub async fn run(config: &Config, store: &Store, json: bool) -> anyhow::Result<()> {
    let private = crate::database::external(config)?.is_none();
    let cluster = postgres::folder(&config.data_dir());
    let disk = if private { Disk::under(&cluster) } else { None };
    let status = gather(store, disk).await?;
    if json {
        say!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print(&status);
    }
    Ok(())
}

async fn gather(store: &Store, disk: Option<Disk>) -> anyhow::Result<Status> {
    let state = store.server_state().await?;
    let sizes = store.table_sizes().await?;
    let storage = store.storage_report().await?;
    let disk_free_bytes = disk.map(|disk| disk.free_bytes);
    let moment = |at| table::moment(Some(from_sql(at)));
    let backup = store.last_backup().await?;
    Ok(Status {
        schema_version: store.schema_version().await?,
        schema_known: store::newest_schema(),
        bytes: state.bytes,
        wal_bytes: store.wal_bytes().await,
        disk_free_bytes,
        connections: state.connections,
        max_connections: state.max_connections,
        transaction_age: state.transaction_age,
        newest_sample: state.newest_sample.map(moment),
        growth: growth(&storage, disk_free_bytes),
        oldest_sample_after: state.oldest_partition.map(moment),
        postgres: state.version,
        last_backup: backup.map(|backup| LastBackup {
            made_at: moment(backup.made_at),
            bytes: backup.bytes,
            file: backup.file,
        }),
        tiers: storage
            .tiers
            .into_iter()
            .map(|tier| Tier {
                kept_days: tier.keep_s / 86_400.0,
                bytes: tier.bytes,
                bytes_per_day: tier.bytes_per_day,
                bytes_at_retention: tier.bytes_at_retention,
                holds_from: tier.holds_from.map(moment),
                holds_until: tier.holds_until.map(moment),
                name: tier.tier,
            })
            .collect(),
        tables: sizes
            .into_iter()
            .map(|table| Table {
                bytes: table.bytes(),
                name: table.name,
                heap_bytes: table.heap_bytes,
                index_bytes: table.index_bytes,
                toast_bytes: table.toast_bytes,
                rows: table.rows,
                partitions: table.partitions,
                dead_rows: table.dead_rows,
                vacuumed_at: table.vacuumed_at.map(moment),
            })
            .collect(),
    })
}

/// Less than a day of samples tells nothing yet.
fn growth(storage: &StorageReport, free: Option<u64>) -> Option<Growth> {
    Some(Growth {
        bytes_per_day: storage.bytes_per_day?,
        bytes_at_retention: storage.bytes_at_retention?,
        days_until_full: free.and_then(|free| storage.days_until_full(free)),
    })
}

fn bytes(n: i64) -> String {
    size(n.max(0).unsigned_abs())
}

fn print(status: &Status) {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
    let schema = status.schema_version.map_or_else(|| "none".into(), |v| v.to_string());
    say!("postgres       {}, schema {schema} of {}", status.postgres, status.schema_known);
    say!("database       {}", bytes(status.bytes));
    say!("WAL            {}", or_unknown(status.wal_bytes.map(bytes)));
    say!("disk free      {}", or_unknown(status.disk_free_bytes.map(size)));
    say!("connections    {} of {}", status.connections, status.max_connections);
    say!(
        "transactions   {} million since the last freeze, of 2000",
        status.transaction_age / 1_000_000
    );
    let none = || "none yet".to_owned();
    say!("oldest sample  after {}", status.oldest_sample_after.clone().unwrap_or_else(none));
    say!("newest sample  {}", status.newest_sample.clone().unwrap_or_else(none));
    match &status.growth {
        None => say!("growth         known after a whole day (UTC) of samples"),
        Some(growth) => {
            let full = match growth.days_until_full {
                Some(days) => format!("; THE DISK IS FULL IN {days:.1} DAYS"),
                None if status.disk_free_bytes.is_some() => "; the disk holds it".into(),
                None => String::new(),
            };
            say!(
                "growth         {} a day; tiers at retention {}{full}",
                bytes(growth.bytes_per_day),
                bytes(growth.bytes_at_retention)
            );
        }
    }
    match &status.last_backup {
        None => say!("last backup    NONE was ever made: truechimer db backup FILE"),
        Some(backup) => {
            say!("last backup    {}, {}, {}", backup.made_at, bytes(backup.bytes), backup.file);
        }
    }
    say!();
    print_tiers(&status.tiers);
    say!();
    let row = |table: &Table| {
        [
            table.name.clone(),
            bytes(table.bytes),
            bytes(table.heap_bytes),
            bytes(table.index_bytes),
            bytes(table.toast_bytes),
            table.rows.to_string(),
            table.dead_rows.to_string(),
            table.partitions.to_string(),
            table.vacuumed_at.clone().unwrap_or_else(|| "-".into()),
        ]
    };
    let rows: Vec<_> = status.tables.iter().map(row).collect();
    let heading =
        ["TABLE", "SIZE", "HEAP", "INDEX", "TOAST", "ROWS ~", "DEAD ~", "PARTS", "VACUUMED"];
    table::print(heading, &rows);
}

fn print_tiers(tiers: &[Tier]) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let row = |tier: &Tier| {
        [
            tier.name.clone(),
            kept(tier.kept_days),
            or_dash(tier.holds_from.clone()),
            or_dash(tier.holds_until.clone()),
            bytes(tier.bytes),
            or_dash(tier.bytes_per_day.map(bytes)),
            or_dash(tier.bytes_at_retention.map(bytes)),
        ]
    };
    let rows: Vec<_> = tiers.iter().map(row).collect();
    table::print(["TIER", "KEPT", "FROM", "UNTIL", "SIZE", "A DAY", "AT RETENTION"], &rows);
}

fn kept(days: f64) -> String {
    if days < 2.0 { format!("{:.0} h", days * 24.0) } else { format!("{days:.0} d") }
}
