//! The servers are gone for twelve hours, while the crystal swings by 1 ppm with day and night, and come
//! back.
//!
//! Failure: what was learned of the rate in the evening is held against the first answers of the morning.
//!
//! Cure: it widens like everything else that is remembered, so the truth is inside before, during and after.

use agent_sim::{Crystal, Fault, HostConfig, Swing, Trial};

use crate::support::{good, hours, ms, world};

#[test]
fn is_survived_by_the_truth() {
    let crystal =
        Crystal { swings: vec![Swing { ppm: 1.0, period: hours(24) }], ..Crystal::ordinary() };
    let mut trial = Trial::honest(HostConfig { crystal, ..world(good(3)) }).naive_drift_ppm(1.0);
    trial.run(hours(18)).inflict(Fault::SourcesDie).run(hours(12));
    assert!(trial.width() > ms(100), "{}", trial.width());
    assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
    trial.inflict(Fault::SourcesReturn).run(hours(1));
    assert!(trial.width() < ms(3), "{}", trial.width());
}
