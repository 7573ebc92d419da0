//! All servers are a satellite away: 300 ms each way.
//!
//! Failure: the jitter is small, and a window made from it hides 300 ms of ignorance.
//!
//! Cure: the worst-case window is as wide as the round trip, and says so.

use agent_sim::{Path, Trial};

use crate::support::{good, hours, ms, world};

#[test]
fn means_a_wide_window() {
    let mut links = good(3);
    for link in &mut links {
        link.path = Path { out: ms(290), back: ms(310), ..Path::symmetric(ms(600), ms(2)) };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(12));
    assert!(trial.width() >= ms(600));
    assert!(trial.tally.widest < ms(700), "{}", trial.tally.widest);
    assert_eq!(trial.tally.likely(), 1.0);
}
