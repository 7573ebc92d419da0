//! One packet in ten is held for 200 ms.
//!
//! Failure: a simple client that takes the last answer has a window of ±200 ms every now and then.
//!
//! Cure: the spike is outweighed by what was known before: the widest window stays a few
//! milliseconds.

use agent_sim::{Path, Queueing, Trial};
use timebase::Span;

use crate::support::{good, hours, ms, us, world};

#[test]
fn leave_the_window_narrow() {
    let spiky = Path {
        queue_out: Queueing::Spikes(0.1, ms(200)),
        queue_back: Queueing::Spikes(0.1, ms(200)),
        ..Path::symmetric(us(800), Span::ZERO)
    };
    let mut links = good(1);
    links[0].path = spiky;
    let mut trial = Trial::honest(world(links));
    trial.run(hours(1)).recount().run(hours(12));
    assert!(trial.tally.widest < ms(25), "{}", trial.tally.widest);
    assert!(trial.tally.rms() < us(100), "{}", trial.tally.rms());
}
