//! The servers are gone, and then the room warms up: the crystal runs 8 ppm faster.
//!
//! Failure: a holdover that trusts the learned rate for ever loses the truth.
//!
//! Cure: the learned rate counts for less the older it is: the window grows faster, and the truth
//! stays inside.

use agent_sim::{Crystal, Fault, HostConfig, RateStep, Trial};
use timebase::SyncState;

use crate::support::{good, hours, minutes, world};

#[test]
fn stays_inside_the_growing_window() {
    let steps = vec![RateStep { after: hours(6), ppm: 8.0, settles: minutes(40) }];
    let crystal = Crystal { steps, ..Crystal::ordinary() };
    let config = HostConfig { crystal, ..world(good(3)) };
    let mut trial = Trial::honest(config).naive_drift_ppm(1.0);
    trial.run(hours(5)).inflict(Fault::SourcesDie).recount();
    trial.run(hours(12));
    assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
    assert_eq!(trial.state(), SyncState::Holdover);
}
