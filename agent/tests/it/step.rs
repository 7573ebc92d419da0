//! A step of the system clock, as seen by the real binary. The clock of this machine is not touched:
//! a preloaded library makes the agent alone see it set.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::loopback::{chronyd, seconds};
use crate::support::{Folder, agent, skip};

const TEST: &str = "a_step_moves_the_window_at_once";

/// Proves that a step is seen and counted within the second, moves the window by its own size without
/// any packet, and is counted once.
#[tokio::test]
async fn a_step_moves_the_window_at_once() {
    let folder = Folder::new();
    let Some((server_process, server)) = chronyd(&folder) else {
        return skip(TEST, "no chronyd on this machine");
    };
    let library = folder.path().join("stepped_clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stepped_clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    if !compiler.status().is_ok_and(|status| status.success()) {
        return skip(TEST, "no C compiler on this machine");
    }
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
