//! The servers are gone, and a room without people cools down: 1 ppm in six hours.
//!
//! Failure: a simple client that allows 1 ppm of drift is wrong, as the crystal was 7 ppm off to
//! begin with.
//!
//! Cure: rate and wander were learned: the window grows by what is left unknown, and the truth
//! stays inside.

use agent_sim::{Crystal, Fault, HostConfig, RateStep, Trial};
use timebase::SyncState;

use crate::support::{good, hours, ms, world};

#[test]
fn is_within_what_was_learned() {
    let steps = vec![RateStep { after: hours(6), ppm: -1.0, settles: hours(6) }];
    let crystal = Crystal { rate_ppm: 7.0, steps, ..Crystal::ordinary() };
    let mut trial = Trial::honest(HostConfig { crystal, ..world(good(3)) }).naive_drift_ppm(1.0);
    trial.run(hours(5)).inflict(Fault::SourcesDie).recount().run(hours(12));
    assert!(trial.tally.naive.1 * 2 > trial.tally.naive.0, "{:?}", trial.tally);
    assert_eq!(trial.state(), SyncState::Holdover);
    let by_the_limit = ms(2 * 50 * 12 * 3600 / 1000);
    assert!(trial.width().times(4) < by_the_limit, "{}", trial.width());
}
