//! A crystal jumps by 20 ppm while it is watched, hours after its rate was learned.
//!
//! Failure: a client that trusts its learned rate predicts the old one and is wrong until it
//! forgets.
//!
//! Cure: the limit of the configuration holds in any case, and the answers after the jump correct
//! the rest.

use agent_sim::{Crystal, HostConfig, RateStep, Trial};
use timebase::Span;

use crate::support::{good, hours, ms, us, world};

#[test]
fn is_met_by_a_wider_window() {
    let steps = vec![
        RateStep { after: hours(6), ppm: 20.0, settles: Span::ZERO },
        RateStep { after: hours(9), ppm: -31.0, settles: Span::ZERO },
    ];
    let crystal = Crystal { steps, ..Crystal::ordinary() };
    let mut trial = Trial::honest(HostConfig { crystal, ..world(good(3)) });
    trial.run(hours(12));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    assert!(trial.tally.rms() < us(200), "{}", trial.tally.rms());
    assert!(trial.width() < ms(5), "{}", trial.width());
}
