//! White, flicker and random-walk noise ten times that of an ordinary crystal.
//!
//! Failure: a simple client that allows 1 ppm of drift is wrong at times.
//!
//! Cure: the noise is learned from the crystal itself: the statistical window keeps what it
//! promises.

use agent_sim::{Crystal, HostConfig, Trial};

use crate::support::{good, hours, ms, world};

#[test]
fn is_learned() {
    let crystal =
        Crystal { white_ppm: 0.02, flicker_ppm: 0.05, walk_ppm: 2e-3, ..Crystal::ordinary() };
    let config = HostConfig { crystal, poll_log2: (6, 8), ..world(good(3)) };
    let mut trial = Trial::honest(config).naive_drift_ppm(1.0);
    trial.run(hours(24));
    assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
    assert!(trial.tally.likely() > 0.97, "{:?}", trial.tally);
    assert!(trial.tally.half_width() < ms(10), "{}", trial.tally.half_width());
}
