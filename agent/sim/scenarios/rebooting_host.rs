//! A host reboots every twenty minutes, and its sources include a liar.
//!
//! Failure: each start is a moment in which the first to answer could be believed.
//!
//! Cure: every boot begins with no window, says so, and finds the majority within seconds.

use agent_sim::{Fault, HostConfig, Server, Trial};
use timebase::{EventKind, SyncState};

use crate::support::{good, hours, minutes, ms, secs, source, world};

#[test]
fn is_honest_from_its_first_second() {
    let liar = source("liar", Server::off(secs(-7)));
    let config = HostConfig {
        faults: vec![(minutes(5), Some(minutes(20)), Fault::Reboot { down: secs(50) })],
        ..world([vec![liar], good(3)].concat())
    };
    let mut trial = Trial::honest(config);
    trial.run(hours(12));
    let boots = trial.events().filter(|e| **e == EventKind::Started { reboot: true }).count();
    assert_eq!(boots, 36);
    assert!(trial.reports.iter().any(|made| made.report.state == SyncState::Starting));
    assert!(trial.tally.availability() > 0.98, "{:?}", trial.tally);
    assert!(trial.width() < ms(10));
}
