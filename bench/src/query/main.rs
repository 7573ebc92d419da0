//! How long people wait for an answer: a day of a fleet in the collector's own Postgres on a real disk, and
//! the questions of pages and of SQL users about it.
//!
//! What is loaded and what the columns mean is in `docs/BENCHMARKS.md`.

#[path = "../collector.rs"]
#[expect(dead_code, reason = "no agents connect here")]
mod collector;
mod day;
mod figures;
mod hosts;
mod questions;
mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use collector::Collector;
use day::Day;
use figures::Figures;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use questions::Asker;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use store::Store;

/// As installed, but that raw hours stay raw for a day: this program repacks them.
const SETTINGS: &str = "[retention]\nraw = \"1 d\"\n";
/// Hosts with rollups of a year.
const OLD_HOSTS: u32 = 200;
const MANY_HOSTS: u32 = 1_000_000;

/// Measures how quickly questions about a fleet are answered.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-query", version)]
struct Options {
    /// The collector's program.
    #[arg(long, value_name = "PATH")]
    collector: PathBuf,
    /// Where databases are kept meanwhile: a folder on the disk that is to be measured.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// Keeps the databases in this folder; another run with it loads nothing and only measures.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Hosts, each with a report every 10 s.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    hosts: u32,
    /// Whole hours of them; what has passed of this hour comes on top.
    #[arg(long, value_name = "N", default_value_t = 24)]
    hours: u32,
    /// How often each question is asked.
    #[arg(long, value_name = "N", default_value_t = 200)]
    times: u32,
    /// Without the database of a million hosts.
    #[arg(long)]
    no_million: bool,
    /// 200 hosts, 5 hours, few questions: shows that everything works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        (options.hosts, options.hours, options.times) = (200, 5, 20);
        options.no_million = true;
    }
    let figures = match &options.keep {
        Some(folder) => {
            fs::create_dir_all(folder).context(folder.display().to_string())?;
            run(&options, &folder.canonicalize()?).await?
        }
        None => {
            fs::create_dir_all(&options.folder).context(options.folder.display().to_string())?;
            // A folder of our own in it: what is there already is not ours to remove.
            let name = format!("bench-query-{}", std::process::id());
            let own = options.folder.canonicalize()?.join(name);
            fs::create_dir(&own).context(own.display().to_string())?;
            let figures = run(&options, &own).await;
            fs::remove_dir_all(&own).context(own.display().to_string())?;
            figures?
        }
    };
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&figures)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

async fn run(options: &Options, folder: &Path) -> Result<Figures> {
    let mut asker = Asker::new(options.times);
    let data = folder.join("day");
    let (collector, url) = start(options, &data)?;
    let pool = connect(&url).await?;
    let day = match fs::read(data.join("loaded.json")) {
        Ok(loaded) => serde_json::from_slice(&loaded)?,
        Err(_) => {
            let day = load(options, &collector, &pool, &url).await?;
            fs::write(data.join("loaded.json"), serde_json::to_vec(&day)?)?;
            day
        }
    };
    hosts::sign_in(&pool, web::SECRET).await?;
    let bytes: i64 =
        sqlx::query_scalar("SELECT pg_database_size(current_database())").fetch_one(&pool).await?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{} hosts, {:.1} M samples in {:.1} h, {:.1} h of them repacked; {:.1} GB; {} cores, load {}\n\n{}",
        day.hosts,
        day.samples() as f64 / 1e6,
        (day.until - day.since) as f64 / 3600.0,
        (day.repacked_until - day.since) as f64 / 3600.0,
        bytes as f64 / 1e9,
        std::thread::available_parallelism().map_or(0, usize::from),
        load.split_whitespace().next().unwrap_or("?"),
        figures::HEADER
    );
    let uuids: Vec<String> =
        sqlx::query_scalar("SELECT host_uuid::text FROM store.host ORDER BY host_id")
            .fetch_all(&pool)
            .await?;
    asker.pages(&collector.web, &day, &uuids)?;
    asker.functions(&url, &day).await?;
    pool.close().await;
    collector.stop()?;
    if !options.no_million {
        let data = folder.join("million");
        let (collector, url) = start(options, &data)?;
        let pool = connect(&url).await?;
        if !data.join("loaded").exists() {
            eprintln!("loading {MANY_HOSTS} hosts");
            hosts::enrol(&pool, MANY_HOSTS, now(&pool).await? as f64).await?;
            fs::write(data.join("loaded"), "")?;
        }
        hosts::sign_in(&pool, web::SECRET).await?;
        asker.worst(&url, &collector.web).await?;
        pool.close().await;
        collector.stop()?;
    }
    Ok(asker.figures)
}

fn start(options: &Options, data: &Path) -> Result<(Collector, PgConnectOptions)> {
    let collector = Collector::start(&options.collector, data, "web", SETTINGS)?;
    let url = collector.database_url()?.parse()?;
    Ok((collector, url))
}

async fn connect(url: &PgConnectOptions) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(4).connect_with(url.clone()).await?)
}

async fn now(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT extract(epoch FROM now())::int8").fetch_one(pool).await?)
}

/// Hosts, their day and the year before. The collector stands still meanwhile: its jobs would close the
/// hours that are yet to come in, and are done here instead.
async fn load(
    options: &Options,
    collector: &Collector,
    pool: &PgPool,
    url: &PgConnectOptions,
) -> Result<Day> {
    let began = Instant::now();
    let every = options.hosts.div_ceil(OLD_HOSTS);
    let day = Day::ending(now(pool).await?, options.hosts, every, options.hours);
    let pid = Pid::from_raw(collector.pid().cast_signed());
    kill(pid, Signal::SIGSTOP)?;
    let loaded = async {
        hosts::enrol(pool, day.hosts, day.until as f64).await?;
        let store = Store::connect(url.clone(), 4).await?;
        day.load(pool, &store).await?;
        day.load_year(pool, &store).await?;
        store.close().await;
        sqlx::query("CHECKPOINT").execute(pool).await.map(drop).context("checkpoint")
    };
    let loaded = loaded.await;
    kill(pid, Signal::SIGCONT)?;
    loaded?;
    eprintln!("loaded in {:.0} s", began.elapsed().as_secs_f64());
    Ok(day)
}
