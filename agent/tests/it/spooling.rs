//! The agent's binary and its spool, through kill -9, restart and SIGTERM.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::collector::{Collector, JOIN_TOKEN};
use crate::support::{Folder, Process, agent, eventually};

/// Runs the agent against a source that never answers: reports are made all the same.
fn start(collector: &Collector, folder: &Folder) -> Process {
    let token = folder.file("join-token", JOIN_TOKEN);
    Process::start(
        agent()
            .args([
                "run",
                "--server",
                "127.0.0.1:9",
                "--observe",
                "off",
                "--report-interval",
                "1 s",
            ])
            .args(["--name", "spooled", "--collector", &collector.url(), "--join-token-file"])
            .arg(token)
            .arg("--state-dir")
            .arg(folder.path().join("state")),
    )
}

/// Proves that reports made while the collector takes none survive kill -9 of the agent and are
/// delivered exactly once, in the order of their numbers, by the next, whose own numbers are higher; and that a SIGTERM sends the
/// last report before the agent ends.
#[tokio::test]
async fn reports_survive_kill_9_and_a_last_one_is_sent_at_the_end() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    collector.seen().busy = true;
    let mut first = start(&collector, &folder);
    eventually("some reports are offered", || {
        collector.seen().batches.iter().any(|batch| batch.reports.len() >= 3).then_some(())
    })
    .await;
    first.kill_9();
    assert!(collector.seen().numbers().is_empty());
    let offered: BTreeSet<u64> = {
        let seen = collector.seen();
        seen.batches.iter().flat_map(|batch| &batch.reports).map(|report| report.seq).collect()
    };

    collector.seen().busy = false;
    let mut second = start(&collector, &folder);
    let before_end = eventually("reports of both runs arrive", || {
        let numbers = collector.seen().numbers();
        (numbers.len() >= 5).then_some(numbers.len())
    })
    .await;
    let (code, took) = second.terminate().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "took {took:?} to stop");

    let numbers = collector.seen().numbers();
    assert!(numbers.len() > before_end, "the last report was not sent");
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let gaps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert_eq!(gaps, 1, "only the restart leaves a gap: {numbers:?}");
    assert!(offered.iter().all(|seq| numbers.contains(seq)), "{offered:?} {numbers:?}");
    assert_eq!(collector.seen().stored.len(), 1, "one host, one boot");

    let credential = folder.path().join("state/credential");
    let mode = std::fs::metadata(credential).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Proves that a second agent on the same state is turned away with a reason.
#[tokio::test]
async fn two_agents_do_not_share_a_state() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    let _first = start(&collector, &folder);
    let socket = folder.path().join("state/agent.sock");
    eventually("the first agent is up", || socket.exists().then_some(())).await;
    let (code, _, complaint) = crate::support::finished(
        agent()
            .args(["run", "--server", "127.0.0.1:9", "--observe", "off", "--collector"])
            .arg(collector.url())
            .arg("--state-dir")
            .arg(folder.path().join("state")),
    );
    assert_eq!(code, Some(1));
    assert!(complaint.contains("in use by another agent"), "{complaint}");
}
