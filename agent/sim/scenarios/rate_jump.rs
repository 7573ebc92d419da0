//! An aged crystal jumps by 20 ppm, hours after its rate was learned.
//!
//! Failure: trusting the learned rate, the agent has lost the truth by the next poll; it notices
//! then, and trusts the drift limit only until it has learned anew.
//!
//! Cure: with `rate-change-ppm` raised to the drift limit, the window is wider and no jump
//! surprises.

use agent_sim::{Crystal, HostConfig, RateStep, Trial};
use timebase::{Ppb, Span};

use crate::support::{good, hours, minutes, ms, us, world};

#[test]
fn surprises_a_learned_rate_once_and_a_raised_limit_never() {
    let steps = vec![
        RateStep { after: hours(6), ppm: 20.0, settles: Span::ZERO },
        RateStep { after: hours(9), ppm: -31.0, settles: Span::ZERO },
    ];
    let crystal = Crystal { steps, ..Crystal::ordinary() };
    let config = HostConfig { crystal, ..world(good(3)) };

    let mut trusting = Trial::unguarded(config.clone());
    trusting.run(hours(6)).run(minutes(5));
    let wrong = trusting.tally.wrong;
    assert!((1..=300).contains(&wrong), "until the next poll: {wrong}");
    trusting.recount().run(minutes(150));
    assert_eq!(trusting.tally.wrong, 0, "{:?}", trusting.tally);

    let mut config = config;
    config.engine.rate_change = Ppb::from_ppm(50);
    let mut prepared = Trial::honest(config);
    prepared.run(hours(12));
    assert!(prepared.tally.availability() > 0.999, "{:?}", prepared.tally);
    assert!(prepared.tally.rms() < us(200), "{}", prepared.tally.rms());
    assert!(prepared.width() < ms(10), "{}", prepared.width());
}
