//! Day and night swing the crystal by 3 ppm, the air conditioning by 0.3 ppm every 25 minutes.
//!
//! Failure: a rate learned at noon and trusted for ever is wrong by 6 ppm at midnight.
//!
//! Cure: the rate is learned with how fast it changes: window and estimate follow it.

use agent_sim::{Crystal, HostConfig, Swing, Trial};

use crate::support::{good, hours, minutes, ms, us, world};

#[test]
fn is_followed() {
    let crystal = Crystal {
        swings: vec![
            Swing { ppm: 3.0, period: hours(24) },
            Swing { ppm: 0.3, period: minutes(25) },
        ],
        ..Crystal::ordinary()
    };
    let mut trial = Trial::honest(HostConfig { crystal, ..world(good(3)) });
    trial.run(hours(48));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    assert!(trial.tally.rms() < us(50), "{}", trial.tally.rms());
    assert!(trial.tally.half_width() < ms(3), "{}", trial.tally.half_width());
    assert!(trial.tally.likely() > 0.99, "{:?}", trial.tally);
}
