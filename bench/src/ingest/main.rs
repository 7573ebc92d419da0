//! What it costs to take reports in: the collector, with its own Postgres on a real disk, under the light
//! fleet, beside psql's `\copy` of the same rows into the same tables.
//!
//! What the columns mean is in `docs/BENCHMARKS.md`.

#[path = "../collector.rs"]
#[expect(dead_code, reason = "pages are not asked for here")]
mod collector;
mod database;
mod figures;
mod fleet;
mod processes;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use collector::Collector;
use database::Database;
use figures::{Figures, Row};
use fleet::{Load, Pace};
use processes::Processes;

/// As installed, but that hosts may send as fast as they can.
const QUOTA: &str = "[ingest]\nreports-per-second = 1000000\nburst = 1000000\n";

/// Measures how many reports a collector takes, and at what cost.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-ingest", version)]
struct Options {
    /// The collector's program.
    #[arg(long, value_name = "PATH")]
    collector: PathBuf,
    /// truechimer-fleet.
    #[arg(long, value_name = "PATH")]
    fleet: PathBuf,
    /// psql.
    #[arg(long, value_name = "PATH", default_value = "psql")]
    psql: PathBuf,
    /// Where databases are kept meanwhile: a folder on the disk that is to be measured.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "flood6,copy,flood1,steady")]
    parts: Vec<Part>,
    /// Hosts that send as fast as answers come.
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    hosts: u32,
    /// Batches of each of them that await their answers; the collector reads no more of one session.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pipeline: u32,
    /// How long these are measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u32,
    /// Hosts that send a report every 10 s.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    steady_hosts: u32,
    /// How long these are measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    steady_seconds: u32,
    /// How long they send before that.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    steady_warm_up: u32,
    /// Connections that they share.
    #[arg(long, value_name = "N", default_value_t = 200)]
    connections: u32,
    /// What the collector does besides: ingest,evaluate,notify,web.
    #[arg(long, value_name = "ROLES", default_value = "ingest")]
    roles: String,
    /// A few seconds and hosts: shows that everything works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leaves the databases and logs in the folder.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// As fast as it goes, six reports a batch
    Flood6,
    /// The rows of flood6 by psql's \copy
    Copy,
    /// As fast as it goes, one report a batch
    Flood1,
    /// Every host a report every 10 s
    Steady,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        (options.hosts, options.seconds) = (200, 3);
        (options.steady_hosts, options.steady_seconds, options.steady_warm_up) = (500, 10, 2);
        options.connections = 4;
    }
    if options.parts.contains(&Part::Copy) && !options.parts.contains(&Part::Flood6) {
        bail!("copy takes the rows of flood6: --parts flood6,copy");
    }
    std::fs::create_dir_all(&options.folder).context(options.folder.display().to_string())?;
    // A folder of our own in it: what is there already is not ours to remove.
    let own = options.folder.canonicalize()?.join(format!("bench-ingest-{}", std::process::id()));
    std::fs::create_dir(&own).context(own.display().to_string())?;
    let result = run(&options, &own);
    if options.keep {
        println!("\ndatabases and logs are in {}", own.display());
    } else {
        std::fs::remove_dir_all(&own).context(own.display().to_string())?;
    }
    let figures = result?;
    print!("{}", figures.goals());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn run(options: &Options, folder: &Path) -> Result<Figures> {
    let mut figures = Figures::default();
    let rows_file = folder.join("rows");
    println!("{}", figures::machine(folder));
    println!("{}", figures::HEADER);
    // Flood6 before copy: copy takes its rows.
    for part in [Part::Flood6, Part::Copy, Part::Flood1, Part::Steady] {
        if !options.parts.contains(&part) {
            continue;
        }
        let data = folder.join(format!("{part:?}").to_lowercase());
        let collector = Collector::start(&options.collector, &data, &options.roles, QUOTA)?;
        let database = Database::new(&options.psql, collector.database_url()?);
        let row = match part {
            Part::Copy => copy(&database, &rows_file)?,
            Part::Flood6 => {
                let row = load(options, &collector, &database, flood(options, 6))?;
                database.export_samples(&rows_file)?;
                row
            }
            Part::Flood1 => load(options, &collector, &database, flood(options, 1))?,
            Part::Steady => load(options, &collector, &database, steady(options))?,
        };
        println!("{}", row.text());
        figures.rows.push(row);
        collector.stop()?;
        if !options.keep {
            std::fs::remove_dir_all(&data)?;
        }
    }
    Ok(figures)
}

fn flood(options: &Options, reports_per_batch: u32) -> Load {
    Load {
        name: format!("{reports_per_batch} a batch"),
        hosts: options.hosts,
        connections: options.connections.min(options.hosts.div_ceil(100)),
        warm_up_s: options.seconds.div_ceil(6),
        seconds: options.seconds,
        pace: Pace::Flood { reports_per_batch, pipeline: options.pipeline },
    }
}

fn steady(options: &Options) -> Load {
    Load {
        name: format!("{} hosts", options.steady_hosts),
        hosts: options.steady_hosts,
        connections: options.connections,
        warm_up_s: options.steady_warm_up,
        seconds: options.steady_seconds,
        pace: Pace::Steady,
    }
}

/// The collector under a light fleet.
fn load(options: &Options, collector: &Collector, database: &Database, load: Load) -> Result<Row> {
    let state = collector.data.join("fleet");
    std::fs::create_dir_all(&state)?;
    database.enrol(load.hosts, &state.join("light-hosts"))?;
    let postgres = database.postmaster()?;
    let mut before = None;
    let mut running = fleet::start(&options.fleet, &load, &collector.address, &state)?;
    let told = running.follow(|| {
        before = Some((Processes::now(collector.pid(), postgres)?, database.wal_position()?));
        Ok(())
    })?;
    let after = Processes::now(collector.pid(), postgres)?;
    let wal_after = database.wal_position()?;
    let Some((before, wal_before)) = before else { bail!("the fleet never began to measure") };
    let used = after.since(&before);
    let (stored, size) = (database.sample_count()?, database.sample_bytes()?);
    ensure!(
        told.acknowledged > 0 && stored >= told.acknowledged,
        "{} reports were acknowledged, {stored} are stored",
        told.acknowledged
    );
    Ok(Row {
        name: load.name,
        asked_per_s: (load.pace == Pace::Steady).then(|| f64::from(load.hosts) / fleet::INTERVAL_S),
        rows: told.acknowledged,
        seconds: told.elapsed_s,
        collector_cpu_s: Some(used.collector_s),
        postgres_cpu_s: used.postgres_s,
        fleet_cpu_s: Some(told.cpu_s),
        answer_ms: Some([told.answer.p50_ms, told.answer.p99_ms, told.answer.max_ms]),
        never_acknowledged: told.never_acknowledged,
        wal_bytes: wal_after - wal_before,
        heap_bytes_per_row: size.heap as f64 / stored as f64,
        index_bytes_per_row: size.index as f64 / stored as f64,
        file_bytes: None,
        collector_rss_kib: Some(after.collector_rss_kib),
    })
}

/// The same rows by psql, into an empty database.
fn copy(database: &Database, file: &Path) -> Result<Row> {
    let postgres = database.postmaster()?;
    let file_bytes = std::fs::metadata(file).context("rows of flood6")?.len();
    let (before, wal_before) = (Processes::now(0, postgres)?, database.wal_position()?);
    let began = Instant::now();
    database.import_samples(file)?;
    let seconds = began.elapsed().as_secs_f64();
    let used = Processes::now(0, postgres)?.since(&before);
    let wal_bytes = database.wal_position()? - wal_before;
    let (rows, size) = (database.sample_count()?, database.sample_bytes()?);
    Ok(Row {
        name: "psql \\copy".to_owned(),
        asked_per_s: None,
        rows,
        seconds,
        collector_cpu_s: None,
        postgres_cpu_s: used.postgres_s,
        fleet_cpu_s: None,
        answer_ms: None,
        never_acknowledged: 0,
        wal_bytes,
        heap_bytes_per_row: size.heap as f64 / rows as f64,
        index_bytes_per_row: size.index as f64 / rows as f64,
        file_bytes: Some(file_bytes),
        collector_rss_kib: None,
    })
}
