//! Answers meet queues of 1 ms on average, requests of 100 µs.
//!
//! Failure: the mean of the offsets is half a millisecond off, however many are taken.
//!
//! Cure: the least delayed packets of each direction carry the estimate: it errs by far less.

use agent_sim::{Path, Queueing, Trial};

use crate::support::{good, hours, ms, us, world};

#[test]
fn do_not_pull_the_estimate_along() {
    let mut links = good(4);
    for link in &mut links {
        link.path =
            Path { queue_back: Queueing::Exponential(us(1000)), ..Path::symmetric(ms(2), us(100)) };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(1)).recount().run(hours(8));
    let mean_of_offsets = us((1000 - 100) / 2);
    assert!(trial.tally.rms().times(12) < mean_of_offsets, "{}", trial.tally.rms());
    assert!(trial.tally.likely() > 0.99, "{:?}", trial.tally);
}
