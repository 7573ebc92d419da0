//! A step of the system clock, as seen by the real binary. The clock of this machine is not touched:
//! a preloaded library makes the agent alone see it set.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fleet_proto::pb;
use serde_json::Value;

use crate::collector::{Collector, JOIN_TOKEN};
use crate::loopback::{chronyd, seconds};
use crate::support::{Folder, Process, agent, eventually, skip};

const TEST: &str = "a_step_moves_the_window_at_once";

/// Proves that a step is seen and counted within the second, moves the window by its own size without
/// any packet, and is counted once.
#[tokio::test]
async fn a_step_moves_the_window_at_once() {
    let folder = Folder::new();
    let Some((server_process, server)) = chronyd(&folder) else {
        return skip(TEST, "no chronyd on this machine");
    };
    let Some(library) = stepped_clock(&folder) else {
        return skip(TEST, "no C compiler on this machine");
    };
    let step = folder.path().join("step");
    let mut child = agent()
        .args(["run", "--json", "--poll", "0", "--server", &server])
        .env("LD_PRELOAD", &library)
        .env("STEP_WHEN", &step)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());

    let before = lines.find(|view| !view["lo"].is_null()).unwrap();
    assert_eq!(before["steps"], 0);
    assert!(seconds(&before["hi"]) < 0.1, "{before}");

    // No more packets: what follows is known from the clocks alone.
    drop(server_process);
    folder.file("step", "");
    let after = lines.by_ref().take(4).find(|view| view["steps"] == 1);
    let after = after.expect("the step is seen within seconds");
    let (lo, hi) = (seconds(&after["lo"]), seconds(&after["hi"]));
    assert!(lo <= 0.7 && 0.7 <= hi, "the window after a step of 0.7 s: {lo} to {hi}");
    assert!(hi - lo < 0.05, "a useless window: {lo} to {hi}");

    let later: Vec<_> = lines.take(3).collect();
    assert!(later.iter().all(|view| view["steps"] == 1), "{later:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Proves that a step that a slew could have made in the time is counted, once, where the kernel tells of it.
#[test]
fn a_small_step_counts_if_the_kernel_tells() {
    let folder = Folder::new();
    let Some(library) = stepped_clock(&folder) else {
        return skip("a_small_step_counts_if_the_kernel_tells", "no C compiler on this machine");
    };
    let mut child = agent()
        .args(["run", "--json", "--server", "127.0.0.1:9"])
        .env("LD_PRELOAD", &library)
        .env("STEP_WHEN", folder.path().join("step"))
        .env("STEP_NS", "-500000")
        .env("STEP_TOLD", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert_eq!(lines.next().unwrap()["steps"], 0);
    folder.file("step", "");
    let steps: Vec<_> = lines.take(5).map(|view| view["steps"].as_u64().unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(steps.last(), Some(&1), "{steps:?}");
}

/// Proves that a step made while no agent ran is told by the next one in the same boot, that each run is a clock epoch of
/// its own, and that none begins again at none.
#[tokio::test]
async fn a_step_between_two_runs_is_counted() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    let Some(library) = stepped_clock(&folder) else {
        return skip("a_step_between_two_runs_is_counted", "no C compiler on this machine");
    };
    let token = folder.file("join-token", JOIN_TOKEN);
    let step = folder.path().join("step");
    for (run, stepped_before) in [false, true, false].into_iter().enumerate() {
        if stepped_before {
            folder.file("step", "");
        }
        let known = collector.seen().numbers().len();
        let mut agent = Process::start(
            agent()
                .args(["run", "--server", "127.0.0.1:9", "--observe", "off"])
                .args(["--report-interval", "1 s", "--collector", &collector.url()])
                .arg("--join-token-file")
                .arg(&token)
                .arg("--state-dir")
                .arg(folder.path().join("state"))
                .env("LD_PRELOAD", &library)
                .env("STEP_WHEN", &step),
        );
        let (steps, told) = eventually("a report of this run arrives", || {
            let seen = collector.seen();
            let mut fresh = seen.stored.values().flatten().skip(known);
            let first = fresh.find(|report| report.events.iter().any(is_start))?;
            Some((first.steps as usize, first.events.iter().filter(|e| is_step(e)).count()))
        })
        .await;
        agent.kill_9();
        assert_eq!((steps, told), (run, usize::from(stepped_before)), "{known} reports before");
    }
}

/// A run's first report tells of its start.
fn is_start(event: &pb::Event) -> bool {
    matches!(event.kind, Some(pb::event::Kind::Started(_)))
}

fn is_step(event: &pb::Event) -> bool {
    matches!(event.kind, Some(pb::event::Kind::Step(_)))
}

/// The library that makes a process see a stepped clock; `None` without a compiler.
fn stepped_clock(folder: &Folder) -> Option<PathBuf> {
    let library = folder.path().join("stepped_clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stepped_clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}
