//! A daemon slews half a second away, as fast as the kernel lets it.
//!
//! Failure: bounds held on the system clock would lag behind by up to 8 ms a poll.
//!
//! Cure: they are held on the crystal, which nobody steers; the system clock is only read against
//! it.

use agent_sim::{HostConfig, Steering, Trial};
use timebase::EventKind;

use crate::support::{good, hours, ms, secs, us, world};

#[test]
fn is_followed_without_a_poll() {
    let config = HostConfig {
        initial_error: ms(500),
        steering: Steering::Every { every: secs(16), aim: ms(0), noise: us(5) },
        poll_log2: (8, 8),
        ..world(good(3))
    };
    let mut trial = Trial::honest(config);
    trial.run(hours(1));
    assert!(trial.look_now().true_error < ms(1), "slewed away");
    assert!(trial.tally.widest < ms(60), "{}", trial.tally.widest);
    assert!(!trial.events().any(|event| matches!(event, EventKind::Step { .. })));
}
