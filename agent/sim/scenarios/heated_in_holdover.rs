//! The servers are gone, and then the cooling fails: within the hour the crystal runs 8 ppm faster.
//!
//! Failure: a holdover by the learned rate expects 1 ppm of change in the first hour, and loses the
//! truth.
//!
//! Cure: where the cooling may fail, `rate-change-ppm` says so: the window grows faster, and the
//! truth stays inside.

use agent_sim::{Crystal, Fault, HostConfig, RateStep, Trial};
use timebase::{Ppb, SyncState};

use crate::support::{good, hours, minutes, world};

#[test]
fn stays_inside_when_told_what_may_come() {
    let steps = vec![RateStep { after: hours(6), ppm: 8.0, settles: minutes(40) }];
    let crystal = Crystal { steps, ..Crystal::ordinary() };
    let mut config = HostConfig { crystal, ..world(good(3)) };

    let mut trusting = Trial::unguarded(config.clone());
    trusting.run(hours(5)).inflict(Fault::SourcesDie).run(hours(4));
    assert!(trusting.tally.wrong > 0, "{:?}", trusting.tally);

    config.engine.rate_change = Ppb::from_ppm(10);
    let mut told = Trial::honest(config);
    told.run(hours(5)).inflict(Fault::SourcesDie).run(hours(4));
    assert_eq!(told.state(), SyncState::Holdover);
}
