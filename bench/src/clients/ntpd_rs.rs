//! ntpd-rs: always steers, so its clock is what is judged. Its window is what it publishes to its own
//! clients: half the root delay plus the root dispersion, which it defines as a standard deviation.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::{Readings, Task, argument, write};
use crate::private_clock::PrivateClock;

const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_ANSWER: u64 = 1 << 20;
const SOCKET: &str = "observe.sock";

pub(super) fn arguments(task: &Task) -> Result<Vec<String>> {
    let (low, high) = (task.polls.start(), task.polls.end());
    let mut text = format!(
        "[synchronization]\nminimum-agreeing-sources = 1\n\
         [source-defaults]\ninitial-poll-interval = {low}\n\
         poll-interval-limits = {{ min = {low}, max = {high} }}\n\
         [observability]\nlog-level = \"warn\"\nobservation-path = \"{}\"\n",
        argument(&task.folder.join(SOCKET))
    );
    for server in &task.servers {
        text += &format!("[[source]]\nmode = \"server\"\naddress = \"{server}\"\n");
    }
    Ok(vec!["--config".to_owned(), write(task, "ntp.toml", &text)?])
}

pub(super) fn ask(folder: &Path, clock: &PrivateClock, readings: &Readings) -> Option<()> {
    let mut stream = UnixStream::connect(folder.join(SOCKET)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut length = [0; 8];
    stream.read_exact(&mut length).ok()?;
    let mut text = Vec::new();
    stream.take(u64::from_be_bytes(length).min(LONGEST_ANSWER)).read_to_end(&mut text).ok()?;
    let error = clock.error_s()?;
    let half = half_width(&serde_json::from_slice(&text).ok()?)?;
    readings.add(error, error - half, error + half);
    Some(())
}

fn half_width(state: &Value) -> Option<f64> {
    let system = &state["system"];
    let number = |key: &str| system[key].as_f64().unwrap_or(0.0);
    // Sixteen is "not synchronised".
    system["stratum"].as_u64().filter(|stratum| *stratum < 16)?;
    let stamp = |value: &Value| value["timestamp"].as_u64();
    let since = stamp(&state["program"]["now"])?
        .wrapping_sub(stamp(&system["root_variance_base_time"])?)
        .cast_signed() as f64
        / (1_u64 << 32) as f64;
    let variance = number("root_variance_base")
        + since * number("root_variance_linear")
        + since.powi(2) * number("root_variance_quadratic")
        + since.powi(3) * number("root_variance_cubic");
    Some(number("root_delay") / 2.0 + variance.sqrt())
}
