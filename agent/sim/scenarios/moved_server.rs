//! A server gets another address; its name follows a minute later.
//!
//! Failure: a client that looks a name up only once never hears of it again.
//!
//! Cure: an unreachable source is looked up anew, and the server is back under the new address.

use agent_sim::Trial;
use timebase::{SyncState, Verdict};

use crate::support::{good, hours, minutes, world};

#[test]
fn is_found_again_by_its_name() {
    let mut trial = Trial::honest(world(good(1)));
    trial.run(minutes(10));
    let before = trial.look_now().report.sources[0].address.clone();
    // Moved, and the name means nothing for now.
    trial.link(0).address = None;
    let lost = trial.until(hours(1), |r| r.sources[0].verdict == Verdict::Unreachable);
    assert!(lost.is_some());
    assert_eq!(trial.state(), SyncState::Holdover);
    trial.link(0).address = Some(77);
    let found = trial.until(minutes(10), |r| r.state == SyncState::Synchronised);
    assert!(found.is_some());
    assert_ne!(trial.look_now().report.sources[0].address, before);
}
