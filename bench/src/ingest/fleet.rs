//! The light fleet, and what it reports.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// Between two reports of a steady host.
pub(crate) const INTERVAL_S: f64 = 10.0;

/// What is asked of the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) hosts: u32,
    pub(crate) connections: u32,
    pub(crate) warm_up_s: u32,
    pub(crate) seconds: u32,
    pub(crate) pace: Pace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Every host a report every 10 s.
    Steady,
    /// As fast as answers come.
    Flood { reports_per_batch: u32, pipeline: u32 },
}

/// Its last report.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Told {
    pub(crate) elapsed_s: f64,
    pub(crate) acknowledged: u64,
    pub(crate) never_acknowledged: u64,
    pub(crate) cpu_s: f64,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// A running fleet; killed when dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    child: Child,
    log: std::path::PathBuf,
}

pub(crate) fn start(program: &Path, load: &Load, collector: &str, state: &Path) -> Result<Fleet> {
    let log = state.join("log");
    let mut command = Command::new(program);
    command
        .args(["--model", "light", "--json", "--collector", collector, "--state-dir"])
        .arg(state);
    command.args(["--hosts", &load.hosts.to_string()]);
    command.args(["--connections", &load.connections.to_string()]);
    command.args(["--warm-up", &format!("{} s", load.warm_up_s)]);
    command.args(["--for", &format!("{} s", load.seconds)]);
    match load.pace {
        Pace::Steady => command.args(["--report-interval", &format!("{INTERVAL_S} s")]),
        Pace::Flood { reports_per_batch, pipeline } => command
            .arg("--max-rate")
            .args(["--reports-per-batch", &reports_per_batch.to_string()])
            .args(["--pipeline", &pipeline.to_string()]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
    let child = command.spawn().with_context(|| program.display().to_string())?;
    Ok(Fleet { child, log })
}

impl Fleet {
    /// Waits for its last report; `measuring` is called when its warm-up is over.
    pub(crate) fn follow(&mut self, mut measuring: impl FnMut() -> Result<()>) -> Result<Told> {
        let output = self.child.stdout.take().context("the fleet's output")?;
        for line in BufReader::new(output).lines() {
            let line: Value = serde_json::from_str(&line?)?;
            match line["event"].as_str() {
                Some("measuring") => measuring()?,
                Some("final") => return Ok(serde_json::from_value(line)?),
                _ => {}
            }
        }
        bail!("the fleet ended: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
