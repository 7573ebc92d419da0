//! Our agent: `run --json` prints what it knows once a second.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::ChildStdout;

use anyhow::Result;
use serde_json::Value;

use super::{Readings, Task, argument, write};
use crate::private_clock::PrivateClock;

/// The agent's configuration: the task, and nothing that a second agent could meet.
pub(crate) fn configuration(task: &Task) -> String {
    let servers: Vec<_> = task.servers.iter().map(|server| format!("\"{server}\"")).collect();
    let mut text = String::new();
    let _ = write!(
        text,
        "collector = \"{}\"\nstate-dir = \"{}\"\n[ntp]\nservers = [{}]\nmin-poll = {}\nmax-poll = {}\n\
         [observe]\nlisten = \"off\"\n[status]\nsocket = \"off\"\n",
        task.collector.unwrap_or_default(),
        argument(&task.folder.join("state")),
        servers.join(", "),
        task.polls.start(),
        task.polls.end(),
    );
    text
}

pub(super) fn arguments(task: &Task, steers: bool, trusting: bool) -> Result<Vec<String>> {
    let mut text = configuration(task);
    if trusting {
        text = text.replace("[ntp]\n", "[ntp]\nfaults = 0\n");
    }
    let file = write(task, "agent.toml", &text)?;
    let mut arguments = vec!["run".to_owned(), "--json".to_owned(), "--config".to_owned(), file];
    arguments.extend(steers.then(|| "--discipline".to_owned()));
    Ok(arguments)
}

/// Reads until the agent ends. One that steers is judged by its clock, else by what it says of it.
/// Keeps what it says in the task's folder, too.
pub(super) fn read(
    lines: ChildStdout,
    folder: &Path,
    steers: bool,
    clock: &PrivateClock,
    readings: &Readings,
) {
    let mut kept = File::create(folder.join("said.jsonl")).ok();
    for line in BufReader::new(lines).lines().map_while(Result::ok) {
        if let Some(kept) = &mut kept {
            let _ = writeln!(kept, "{line}");
        }
        let Ok(view) = serde_json::from_str::<Value>(&line) else { continue };
        let seconds = |key: &str| view[key].as_f64();
        let found = (seconds("t"), seconds("offset"), seconds("lo"), seconds("hi"));
        let (Some(t), Some(offset), Some(lo), Some(hi)) = found else { continue };
        let Some(truth) = clock.error_at_s((t * 1e9) as i64) else { continue };
        let error = if steers { truth } else { offset - truth };
        readings.add(error, lo - truth, hi - truth);
    }
}
