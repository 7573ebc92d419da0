//! A crystal 80 ppm off, where 50 ppm is the limit in the configuration.
//!
//! Failure: the bounds rest on a limit that does not hold, and the truth is lost between polls.
//!
//! Cure: with the limit raised to what the hardware needs, the window is true.

use agent_sim::{Crystal, HostConfig, Trial};
use timebase::Ppb;

use crate::support::{good, hours, world};

#[test]
fn needs_its_limit_raised() {
    let config = HostConfig { crystal: Crystal::steady(80.0), ..world(good(1)) };
    let mut trial = Trial::unguarded(config.clone());
    trial.run(hours(1));
    let lost = trial.tally.wrong > 0 || trial.tally.availability() < 0.5;
    assert!(lost, "{:?}", trial.tally);

    let mut raised = config;
    raised.engine.drift_limit = Ppb::from_ppm(100);
    let mut trial = Trial::honest(raised);
    trial.run(hours(12));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
}
