//! A crystal 38 ppm fast, and nobody who corrects the system clock.
//!
//! Failure: a simple client that allows 15 ppm of drift is wrong between two polls.
//!
//! Cure: the rate is measured and taken into account; the error that grows is shown, not hidden.

use agent_sim::{Crystal, HostConfig, Steering, Trial};

use crate::support::{good, hours, ms, secs, us, world};

#[test]
fn is_measured() {
    let config = HostConfig {
        crystal: Crystal::steady(38.0),
        steering: Steering::None,
        poll_log2: (8, 8),
        ..world(good(2))
    };
    let mut trial = Trial::honest(config);
    trial.run(hours(2)).recount().run(hours(22));
    assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
    let made = trial.look_now();
    assert!(made.true_error > secs(3), "38 ppm for a day: {}", made.true_error);
    let rate = made.report.frequency.expect("measured by now").as_ppb();
    assert!((rate - 38_000).abs() < 20, "{rate} ppb");
    assert!(trial.tally.rms() < us(200), "{}", trial.tally.rms());
    assert!(trial.width() < ms(30));
}
