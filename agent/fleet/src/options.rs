use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use timebase::Span;

/// What a simulated host is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// The agent's own engine and uplink in a simulated world
    Engine,
    /// Reports by a formula over the real wire: for load, not for judging clocks
    Light,
}

/// Simulate a fleet of hosts that report to a collector.
#[derive(Clone, Debug, Parser)]
#[command(version, about, long_about = None)]
pub(crate) struct Options {
    /// Collector, such as http://127.0.0.1:4461 or https://collector.example.net:4461
    #[arg(long)]
    pub(crate) collector: String,
    /// File with a join token (truechimer token create); not needed by hosts that have enrolled
    #[arg(long)]
    pub(crate) join_token_file: Option<PathBuf>,
    /// Where credentials are kept, so that a restart is the same fleet again
    #[arg(long)]
    pub(crate) state_dir: PathBuf,
    /// What a host is made of
    #[arg(long, value_enum, default_value_t = Model::Engine)]
    pub(crate) model: Model,
    /// How many hosts
    #[arg(long, default_value_t = 200)]
    pub(crate) hosts: usize,
    /// Every host and every fault follows from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Time between reports of a host
    #[arg(long, default_value = "10 s")]
    pub(crate) report_interval: Span,
    /// Connections that the hosts share; as many as hosts: each has its own [default: 4, and more
    /// where there are more than 500 hosts for each]
    #[arg(long)]
    pub(crate) connections: Option<usize>,
    /// Certificate authority of the collector, PEM
    #[arg(long)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Speak without TLS to another machine
    #[arg(long)]
    pub(crate) allow_plain: bool,
    /// What to log, such as info or truechimer=debug
    #[arg(long, env = "TRUECHIMER_LOG", default_value = "info")]
    pub(crate) log: String,
    #[command(flatten)]
    pub(crate) light: LightOptions,
}

/// What only light hosts can do.
#[derive(Clone, Debug, Parser)]
#[command(next_help_heading = "With --model light")]
pub(crate) struct LightOptions {
    /// Reports that a host gathers before it sends them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) reports_per_batch: u32,
    /// Send as fast as answers come, instead of a report every report interval
    #[arg(long)]
    pub(crate) max_rate: bool,
    /// Batches of a host that await their answers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) pipeline: u32,
    /// Sessions that are being opened at the same time, at the start; later nothing holds them back
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) opening: u32,
    /// End after this time, counted from when every host has had a session
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) duration: Option<Span>,
    /// Leave out of the report what happens in this time, counted in the same way
    #[arg(long, value_name = "DURATION", default_value = "0 s")]
    pub(crate) warm_up: Span,
    /// All connections break at once, again and again after this time
    #[arg(long, value_name = "EVERY")]
    pub(crate) storm: Option<Span>,
    /// So many of a hundred batches are cut off before their answer, and sent again
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(crate) drop_percent: f64,
    /// So many of a hundred batches are sent again although they were acknowledged
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(crate) duplicate_percent: f64,
    /// So many hosts send a batch a second and do not read answers
    #[arg(long, value_name = "HOSTS", default_value_t = 0)]
    pub(crate) slow_reader: usize,
    /// So many hosts send reports that can never be stored
    #[arg(long, value_name = "HOSTS", default_value_t = 0)]
    pub(crate) garbage: usize,
    /// Print the report as JSON, on standard output, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// At the end, write for each host what was acknowledged: host id, boot id, highest seq
    #[arg(long, value_name = "FILE")]
    pub(crate) acknowledged_file: Option<PathBuf>,
}

impl Options {
    /// Refuses what cannot be meant.
    pub(crate) fn check(&self) -> Result<()> {
        if self.report_interval <= Span::ZERO {
            bail!("--report-interval must be more than nothing");
        }
        let light = &self.light;
        for (name, percent) in [
            ("--drop-percent", light.drop_percent),
            ("--duplicate-percent", light.duplicate_percent),
        ] {
            if !(0.0..=100.0).contains(&percent) {
                bail!("{name} is a share of a hundred: 0 to 100");
            }
        }
        if light.slow_reader + light.garbage > self.hosts {
            bail!("--slow-reader and --garbage together name more hosts than --hosts");
        }
        if light.storm.is_some_and(|every| every <= Span::ZERO) {
            bail!("--storm must be more than nothing");
        }
        Ok(())
    }
}
