//! The network is gone for ten minutes in every hour.
//!
//! Failure: a simple client that allows 1 ppm of drift is wrong before the hour is over.
//!
//! Cure: the host holds over by what its crystal can do, and is synchronised again when the network
//! is back.

use agent_sim::{Crystal, HostConfig, Outages, Trial};
use timebase::SyncState;

use crate::support::{good, hours, minutes, ms, world};

#[test]
fn are_held_over() {
    let mut links = good(3);
    for link in &mut links {
        link.path.outages = Some(Outages { every: hours(1), lasts: minutes(10) });
    }
    let crystal = Crystal { rate_ppm: -17.0, ..Crystal::ordinary() };
    let mut trial = Trial::honest(HostConfig { crystal, ..world(links) }).naive_drift_ppm(1.0);
    trial.run(hours(24));
    assert!(trial.tally.naive.1 > 1000, "{:?}", trial.tally);
    let held = trial.reports.iter().filter(|made| made.report.state == SyncState::Holdover);
    assert!(held.count() > 100);
    assert!(trial.tally.widest < ms(100), "{}", trial.tally.widest);
}
