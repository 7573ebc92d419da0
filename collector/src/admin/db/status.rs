//! `truechimer db status`.

use std::path::Path;

use serde::Serialize;
use store::Store;
use store::storage::{ServerState, TableSize};
use store::time::from_sql;
use timebase::Span;

use super::progress::size;
use crate::admin::table;
use crate::config::Config;

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
    tables: Vec<Table>,
}

/// What samples take up in the long run.
#[derive(Debug, Serialize, PartialEq)]
struct Growth {
    bytes_per_day: i64,
    /// Of the samples, once the first is as old as retention lets it become.
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
    let data_dir = config.data_dir();
    let status = gather(store, private.then_some(&data_dir), config.retention.samples).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print(&status);
    }
    Ok(())
}

async fn gather(
    store: &Store,
    data_dir: Option<&std::path::PathBuf>,
    keep: Span,
) -> anyhow::Result<Status> {
    let state = store.server_state().await?;
    let sizes = store.table_sizes().await?;
    let disk_free_bytes = data_dir.and_then(|dir| free(dir));
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
        growth: growth_of(&state, &sizes, keep, disk_free_bytes),
        oldest_sample_after: state.oldest_partition.map(moment),
        postgres: state.version,
        last_backup: backup.map(|backup| LastBackup {
            made_at: moment(backup.made_at),
            bytes: backup.bytes,
            file: backup.file,
        }),
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

fn growth_of(
    state: &ServerState,
    sizes: &[TableSize],
    keep: Span,
    free: Option<u64>,
) -> Option<Growth> {
    let samples = sizes.iter().find(|table| table.name == "store.sample")?.bytes();
    let newest = from_sql(state.newest_sample?);
    let oldest = from_sql(state.oldest_partition?);
    growth(samples, newest - oldest, keep, free)
}

/// From what a span of samples takes up. Less than a day of them tells nothing yet.
fn growth(bytes: i64, covered: Span, keep: Span, free: Option<u64>) -> Option<Growth> {
    const DAY: f64 = 86_400e9;
    let (days, kept) = (covered.as_ns() as f64 / DAY, keep.as_ns() as f64 / DAY);
    if days < 1.0 {
        return None;
    }
    let per_day = bytes as f64 / days;
    let to_come = (per_day * kept - bytes as f64).max(0.0);
    let days_until_full = free.map(|free| free as f64).filter(|free| *free < to_come);
    Some(Growth {
        bytes_per_day: per_day as i64,
        bytes_at_retention: (per_day * kept) as i64,
        days_until_full: days_until_full.map(|free| free / per_day),
    })
}

fn free(dir: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    Some(disk.blocks_available() * disk.fragment_size())
}

fn bytes(n: i64) -> String {
    size(n.max(0).unsigned_abs())
}

fn print(status: &Status) {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
    let schema = status.schema_version.map_or_else(|| "none".into(), |v| v.to_string());
    println!("postgres       {}, schema {schema} of {}", status.postgres, status.schema_known);
    println!("database       {}", bytes(status.bytes));
    println!("WAL            {}", or_unknown(status.wal_bytes.map(bytes)));
    println!("disk free      {}", or_unknown(status.disk_free_bytes.map(size)));
    println!("connections    {} of {}", status.connections, status.max_connections);
    println!(
        "transactions   {} million since the last freeze, of 2000",
        status.transaction_age / 1_000_000
    );
    let none = || "none yet".to_owned();
    println!("oldest sample  after {}", status.oldest_sample_after.clone().unwrap_or_else(none));
    println!("newest sample  {}", status.newest_sample.clone().unwrap_or_else(none));
    match &status.growth {
        None => println!("growth         known after a day of samples"),
        Some(growth) => {
            let full = match growth.days_until_full {
                Some(days) => format!("; THE DISK IS FULL IN {days:.1} DAYS"),
                None if status.disk_free_bytes.is_some() => "; the disk holds it".into(),
                None => String::new(),
            };
            println!(
                "growth         {} a day; samples at retention {}{full}",
                bytes(growth.bytes_per_day),
                bytes(growth.bytes_at_retention)
            );
        }
    }
    match &status.last_backup {
        None => println!("last backup    NONE was ever made: truechimer db backup FILE"),
        Some(backup) => {
            println!("last backup    {}, {}, {}", backup.made_at, bytes(backup.bytes), backup.file);
        }
    }
    println!();
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(86_400);

    /// Proves the forecast: what ten days take up tells a day, the end, and when the disk is too small.
    #[test]
    fn forecast() {
        let at = |free| growth(10_000, DAY.times(10), DAY.times(30), free).unwrap();
        assert_eq!((at(None).bytes_per_day, at(None).bytes_at_retention), (1_000, 30_000));
        assert_eq!(at(Some(20_000)).days_until_full, None);
        assert_eq!(at(Some(5_000)).days_until_full, Some(5.0));
        let steady = growth(30_000, DAY.times(30), DAY.times(30), Some(0)).unwrap();
        assert_eq!(steady.days_until_full, None, "what retention drops makes room");
        assert_eq!(growth(10, Span::from_secs(3_600), DAY.times(30), None), None);
    }
}
