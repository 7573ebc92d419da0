//! `truechimer-fleet`: many simulated hosts that report to a real collector.
//!
//! Each host runs the agent's own engine on a simulated crystal, network and servers, and the agent's
//! own uplink over real gRPC. Only the world around them is made up, and every host says so: the
//! collector shows them as simulated.

mod backlog;
mod member;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent::uplink::{Secret, UplinkMetrics, collector_endpoint};
use anyhow::{Context, Result};
use clap::Parser;
use member::{Member, Shared};
use timebase::Span;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

/// How often the world is brought up to the present. Events inside happen at their own exact times;
/// this only decides how late a report can leave.
const TICK: Duration = Duration::from_millis(500);
/// How often the log says how things stand.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);
/// How long hosts may take to say goodbye.
const DRAIN: Duration = Duration::from_secs(2);

/// Simulate a fleet of hosts that report to a collector.
#[derive(Parser)]
#[command(version, about, long_about = None)]
struct Args {
    /// Collector, such as http://127.0.0.1:4461 or https://collector.example.net:4461
    #[arg(long)]
    collector: String,
    /// File with a join token (truechimer token create)
    #[arg(long)]
    join_token_file: PathBuf,
    /// Where credentials are kept, so that a restart is the same fleet again
    #[arg(long)]
    state_dir: PathBuf,
    /// How many hosts
    #[arg(long, default_value_t = 200)]
    hosts: usize,
    /// Every host and every fault follows from this number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Time between reports of a host
    #[arg(long, default_value = "10 s")]
    report_interval: Span,
    /// Connections that the hosts share
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Certificate authority of the collector, PEM
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Speak without TLS to another machine
    #[arg(long)]
    allow_plain: bool,
    /// What to log, such as info or truechimer=debug
    #[arg(long, env = "TRUECHIMER_LOG", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    // Before anything can open a TLS connection; it fails only if it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("truechimer-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&args.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}

async fn run(args: Args) -> Result<()> {
    let token = std::fs::read_to_string(&args.join_token_file)
        .with_context(|| format!("join token file {}", args.join_token_file.display()))?;
    std::fs::create_dir_all(&args.state_dir)
        .with_context(|| format!("state directory {}", args.state_dir.display()))?;
    let endpoint = collector_endpoint(&args.collector, args.ca_file.as_deref(), args.allow_plain)?;
    let channels: Vec<_> =
        (0..args.connections.clamp(1, 64)).map(|_| endpoint.connect_lazy()).collect();
    let shared = Arc::new(Shared {
        join_token: Secret::new(&token),
        state_dir: args.state_dir,
        metrics: UplinkMetrics::default(),
        uplinks: TaskTracker::new(),
        stop: CancellationToken::new(),
        drain: DRAIN,
    });

    let world = World::start();
    let configs = agent_sim::fleet::hosts(args.hosts, args.seed, args.report_interval);
    let mut members: Vec<_> = configs
        .into_iter()
        .zip(channels.iter().cycle())
        .map(|(config, channel)| Member::new(config, channel.clone(), world, &shared))
        .collect();
    info!("{} simulated hosts report to {}", members.len(), args.collector);

    let mut tick = tokio::time::interval(TICK);
    let mut progress =
        tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
    let mut stopping = std::pin::pin!(stopped());
    loop {
        tokio::select! {
            signal = &mut stopping => { signal?; break }
            _ = tick.tick() => members.iter_mut().for_each(Member::tick),
            _ = progress.tick() => {
                let waiting: usize = members.iter().map(Member::waiting).sum();
                info!(
                    reports.acknowledged = shared.metrics.acknowledged.get(),
                    reports.waiting = waiting,
                    "{} reports acknowledged, {waiting} waiting", shared.metrics.acknowledged.get(),
                );
            }
        }
    }
    info!("stopping");
    shared.stop.cancel();
    shared.uplinks.close();
    let _ = tokio::time::timeout(DRAIN * 2, shared.uplinks.wait()).await;
    Ok(())
}

async fn stopped() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}

/// True time of the simulated world: this machine's clock when it began, and from then on a clock that
/// nobody steps.
#[derive(Clone, Copy)]
struct World {
    began: timebase::Timestamp<timebase::Utc>,
    at: tokio::time::Instant,
}

impl World {
    fn start() -> Self {
        let began = timebase::Timestamp::from_ns(agent::sys::clock::realtime().as_ns());
        Self { began, at: tokio::time::Instant::now() }
    }

    fn now(&self) -> timebase::Timestamp<timebase::Utc> {
        let elapsed = i64::try_from(self.at.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.began + Span::from_ns(elapsed)
    }
}
