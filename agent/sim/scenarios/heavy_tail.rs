//! Queues have a heavy tail: some packets wait a hundred times as long as most.
//!
//! Failure: a statistical window learned from the jitter of the last answers is blown up by every
//! straggler.
//!
//! Cure: a slow exchange bounds little and takes nothing away: the window stays as narrow as the
//! best ones made it.

use agent_sim::{Path, Queueing, Trial};

use crate::support::{good, hours, ms, us, world};

#[test]
fn takes_nothing_away_from_the_quick_answers() {
    let mut links = good(3);
    for link in &mut links {
        let queue = Queueing::Pareto(us(150), 1.5);
        link.path = Path { queue_out: queue, queue_back: queue, ..Path::default() };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(1)).recount().run(hours(12));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    assert!(trial.tally.half_width() < ms(2), "{}", trial.tally.half_width());
    assert!(trial.tally.rms() < us(100), "{}", trial.tally.rms());
}
