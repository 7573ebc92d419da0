//! Light hosts: reports by a formula, over the real wire, at a cost that lets one process be a fleet.

mod connections;
mod faults;
mod histogram;
mod host;
mod model;
mod pace;
mod roster;
mod session;
mod tally;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::uplink::Secret;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use timebase::Span;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use crate::options::Options;
use crate::stopped;
use connections::Connections;
use faults::Role;
use host::{Fate, Fleet, Host};
use roster::Roster;
use tally::{Report, Tally};

/// How often it is told how things stand.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// At the end, what was sent gets so long to be answered.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs until it is stopped, or its time is over.
pub(crate) async fn run(options: Options) -> Result<()> {
    let fleet = Arc::new(gather(options)?);
    let options = &fleet.options;
    info!(
        "{} simulated hosts (light model) report to {} over {} connections",
        options.hosts,
        options.collector,
        fleet.connections.count(),
    );
    let mut hosts = JoinSet::new();
    for number in 0..options.hosts {
        hosts.spawn(Host::new(number, &fleet).run());
    }
    let mut measured = Measured::now();
    attend(&fleet, &mut measured).await?;

    info!("stopping: what was sent is awaited for at most {} s", DRAIN.as_secs());
    let open_sessions = fleet.open_sessions.load(Ordering::Relaxed);
    fleet.stop.cancel();
    let give_up = fleet.give_up.clone();
    tokio::spawn(async move {
        tokio::time::sleep(DRAIN).await;
        give_up.cancel();
    });
    let fates = hosts.join_all().await;
    if let Some(path) = &options.light.acknowledged_file {
        host::write_acknowledged(path, &fates)?;
    }
    let ordinary = fates.iter().filter(|fate: &&Fate| fate.role != Role::SlowReader);
    let unanswered = ordinary.map(|fate| fate.unanswered).sum();
    tell(&fleet, &measured, open_sessions, Some(unanswered));
    Ok(())
}

fn gather(options: Options) -> Result<Fleet> {
    std::fs::create_dir_all(&options.state_dir)
        .with_context(|| format!("state directory {}", options.state_dir.display()))?;
    let roster = Roster::open(&options.state_dir, options.hosts, options.seed)?;
    let token = match &options.join_token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            Some(Secret::new(&text.with_context(|| format!("join token file {}", path.display()))?))
        }
        None => None,
    };
    let strangers = roster.strangers();
    if strangers > 0 && token.is_none() {
        bail!("{strangers} hosts have yet to enrol: --join-token-file is needed");
    }
    let connections = Connections::new(&options)?;
    Ok(Fleet::new(options, token, roster, connections))
}

/// Raises storms and tells how things stand, until the end.
async fn attend(fleet: &Fleet, measured: &mut Measured) -> Result<()> {
    let light = &fleet.options.light;
    let open_sessions = || fleet.open_sessions.load(Ordering::Relaxed);
    let mut stopping = std::pin::pin!(stopped());
    let mut report = tokio::time::interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
    // Until every host has had a session.
    while !fleet.all_here.is_cancelled() {
        tokio::select! {
            signal = &mut stopping => return signal,
            () = fleet.all_here.cancelled() => {}
            _ = report.tick() => {
                let arrived = fleet.arrived.load(Ordering::Relaxed);
                info!("{arrived} of {} hosts have had a session", fleet.options.hosts);
                tell(fleet, measured, open_sessions(), None);
            }
        }
    }
    info!("every host has had a session, after {:.1} s", measured.since.elapsed().as_secs_f64());
    let began = Instant::now();
    let at = |span: Option<Span>| span.map(|span| began + std(span));
    let (mut warm, mut storm) = (at(Some(light.warm_up)), at(light.storm));
    let end = at(light.duration.map(|duration| duration + light.warm_up));
    loop {
        tokio::select! {
            signal = &mut stopping => return signal,
            () = until(warm) => {
                warm = None;
                *fleet.tally() = Tally::default();
                *measured = Measured::now();
                report.reset();
                if light.json {
                    println!("{}", serde_json::json!({ "event": "measuring" }));
                }
            }
            () = until(storm) => {
                info!("storm: every connection breaks");
                fleet.connections.storm();
                storm = light.storm.map(|every| Instant::now() + std(every));
            }
            () = until(end) => return Ok(()),
            _ = report.tick() => tell(fleet, measured, open_sessions(), None),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn std(span: Span) -> Duration {
    Duration::from_nanos(span.as_ns().max(0).cast_unsigned())
}

/// Prints a report; with `never_acknowledged` it is the last.
fn tell(fleet: &Fleet, measured: &Measured, open_sessions: u64, never_acknowledged: Option<u64>) {
    let tally = fleet.tally().clone();
    let report = Report {
        tally: &tally,
        elapsed: measured.since.elapsed(),
        cpu: measured.cpu(),
        open_sessions,
        hosts: fleet.options.hosts,
        never_acknowledged,
    };
    if fleet.options.light.json {
        println!("{}", report.json());
    } else {
        println!("{}", report.text());
    }
}

/// Since when things are counted.
struct Measured {
    since: Instant,
    cpu_before: Duration,
}

impl Measured {
    fn now() -> Self {
        Self { since: Instant::now(), cpu_before: cpu() }
    }

    fn cpu(&self) -> Duration {
        cpu().saturating_sub(self.cpu_before)
    }
}

/// Processor time of this process.
fn cpu() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_SELF);
    let us = used.map_or(0, |used| (used.user_time() + used.system_time()).num_microseconds());
    Duration::from_micros(us.max(0).cast_unsigned())
}
