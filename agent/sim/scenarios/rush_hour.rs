//! Once a day the queues of one direction grow fifty times as long.
//!
//! Failure: around the peak, the middle of each exchange is milliseconds off.
//!
//! Cure: what was learned before the rush carries the estimate through it; the window widens and
//! stays true.

use agent_sim::{Congestion, Path, Queueing, Trial};

use crate::support::{good, hours, ms, us, world};

#[test]
fn widens_the_window_and_hardly_moves_the_estimate() {
    let mut links = good(3);
    for link in &mut links {
        link.path = Path {
            queue_out: Queueing::Exponential(us(10)),
            queue_back: Queueing::Exponential(us(100)),
            congestion: Some(Congestion { period: hours(24), peak: 50.0 }),
            ..Path::symmetric(ms(1), us(0))
        };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(6)).recount().run(hours(12));
    // At the peak, the mean of the offsets is off by half of 4.5 ms.
    assert!(trial.tally.rms() < us(500), "{}", trial.tally.rms());
    assert!(trial.tally.likely() > 0.99, "{:?}", trial.tally);
}
