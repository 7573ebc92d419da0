//! `truechimer-fleet`: many simulated hosts that report to a real collector.
//!
//! Two models of a host. **engine**: the agent's own engine on a simulated crystal, network and servers,
//! and the agent's own uplink: a few hundred hosts, every fault a clock can have. **light**: reports that
//! follow a formula, over the same wire: 100,000 hosts and more in one process, to load a collector.
//! Every host says that it is simulated, and by which model; the collector shows it.

mod engine;
mod light;
mod options;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use options::{Model, Options};

fn main() -> ExitCode {
    // Before anything can open a TLS connection; it fails only if it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match start(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("truechimer-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> Result<()> {
    options.check()?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&options.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match options.model {
            Model::Engine => engine::run(options).await,
            Model::Light => light::run(options).await,
        }
    })
}

/// Ctrl-C, or a polite request to end.
async fn stopped() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}

/// True time of the simulated world: this machine's clock when it began, and from then on a clock that
/// nobody steps.
#[derive(Clone, Copy, Debug)]
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
        self.began + timebase::Span::from_ns(self.elapsed_ns())
    }

    /// Nanoseconds since it began.
    fn elapsed_ns(&self) -> i64 {
        i64::try_from(self.at.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    /// The moment that is so many nanoseconds after it began.
    fn instant(&self, elapsed_ns: i64) -> tokio::time::Instant {
        self.at + std::time::Duration::from_nanos(elapsed_ns.max(0).cast_unsigned())
    }
}
