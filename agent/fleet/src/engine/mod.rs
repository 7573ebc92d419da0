//! Hosts with the agent's own engine and uplink in a simulated world.

mod backlog;
mod member;

use std::sync::Arc;
use std::time::Duration;

use agent::uplink::{Secret, UplinkMetrics, collector_endpoint};
use anyhow::{Context, Result};
use member::{Member, Shared};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::options::Options;
use crate::{World, stopped};

/// How often the world is brought up to the present. Events inside happen at their own exact times;
/// this only decides how late a report can leave.
const TICK: Duration = Duration::from_millis(500);
/// How often the log says how things stand.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);
/// How long hosts may take to say goodbye.
const DRAIN: Duration = Duration::from_secs(2);
/// Connections that the hosts share if nobody says how many.
const CONNECTIONS: usize = 4;
const HOSTS_PER_CONNECTION: usize = 500;

/// Runs until it is stopped.
pub(crate) async fn run(options: Options) -> Result<()> {
    let path = options.join_token_file.context("--join-token-file is needed")?;
    let token = std::fs::read_to_string(&path)
        .with_context(|| format!("join token file {}", path.display()))?;
    std::fs::create_dir_all(&options.state_dir)
        .with_context(|| format!("state directory {}", options.state_dir.display()))?;
    let (ca_file, allow_plain) = (options.ca_file.as_deref(), options.allow_plain);
    let endpoint = collector_endpoint(&options.collector, ca_file, allow_plain)?;
    let connections = options
        .connections
        .unwrap_or(CONNECTIONS.max(options.hosts.div_ceil(HOSTS_PER_CONNECTION)))
        .clamp(1, options.hosts.max(1));
    let channels: Vec<_> = (0..connections).map(|_| endpoint.connect_lazy()).collect();
    let shared = Arc::new(Shared {
        join_token: Secret::new(&token),
        state_dir: options.state_dir,
        metrics: UplinkMetrics::default(),
        uplinks: TaskTracker::new(),
        stop: CancellationToken::new(),
        drain: DRAIN,
    });

    let world = World::start();
    let configs = agent_sim::fleet::hosts(options.hosts, options.seed, options.report_interval);
    let mut members: Vec<_> = configs
        .into_iter()
        .zip(channels.iter().cycle())
        .map(|(config, channel)| Member::new(config, channel.clone(), world, &shared))
        .collect();
    info!("{} simulated hosts report to {}", members.len(), options.collector);

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
