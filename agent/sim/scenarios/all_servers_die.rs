//! Every server is gone for a day: the crystal is all there is.
//!
//! Failure: a simple client that allows 1 ppm of drift is wrong within minutes.
//!
//! Cure: the window grows with the drift that is possible, the state says holdover and in the end
//! free-running, and one answer heals.

use agent_sim::{Crystal, Fault, HostConfig, Trial};
use timebase::SyncState;

use crate::support::{good, hours, minutes, ms, world};

#[test]
fn makes_the_window_grow_and_keeps_the_truth_inside() {
    let crystal = Crystal { rate_ppm: 13.0, ..Crystal::ordinary() };
    let config = HostConfig { crystal, ..world(good(3)) };
    let mut trial = Trial::honest(config).naive_drift_ppm(1.0);
    trial.run(hours(1)).inflict(Fault::SourcesDie).recount();
    trial.run(hours(2));
    assert!(trial.tally.naive.1 * 2 > trial.tally.naive.0, "{:?}", trial.tally);
    assert_eq!(trial.state(), SyncState::Holdover);
    trial.run(hours(22));
    let longest = trial.width();
    trial.inflict(Fault::SourcesReturn).run(minutes(20));
    assert_eq!(trial.state(), SyncState::Synchronised);
    assert!(trial.width() < ms(5) && trial.width() < longest);
}
