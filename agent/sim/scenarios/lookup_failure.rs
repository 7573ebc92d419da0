//! Names cannot be looked up for the first ten minutes after the start.
//!
//! Failure: a client that looks up once at its start never has a server.
//!
//! Cure: it says that it has no window, asks again and again, and synchronises when the names are
//! back.

use agent_sim::Trial;
use timebase::SyncState;

use crate::support::{good, minutes, secs, world};

#[test]
fn is_outlived() {
    let mut links = good(3);
    for link in &mut links {
        link.address = None;
    }
    let mut trial = Trial::honest(world(links));
    trial.run(minutes(10));
    assert_eq!((trial.window(), trial.state()), (None, SyncState::FreeRunning));
    for source in 0..3 {
        trial.link(source).address = Some(1);
    }
    let found = trial.until(secs(70), |report| report.state == SyncState::Synchronised);
    assert!(found.is_some());
}
