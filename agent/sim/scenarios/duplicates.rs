//! Every third packet arrives twice.
//!
//! Failure: an answer counted twice is a measurement that was never made.
//!
//! Cure: exactly one answer to each request is taken; the copies are refused and counted.

use agent_sim::{Path, Trial};

use crate::support::{good, hours, ms, us, world};

#[test]
fn are_taken_once() {
    let mut links = good(1);
    links[0].path = Path { duplicated: 0.33, ..Path::symmetric(ms(2), us(300)) };
    let mut trial = Trial::honest(world(links));
    trial.run(hours(6));
    let source = trial.look_now().report.sources.remove(0);
    let polls_at_most = 6 * 3600 / 15 + 10;
    assert!(source.accepted <= polls_at_most, "{}", source.accepted);
    assert!(source.refused > source.accepted / 3, "{} copies", source.refused);
    assert!(trial.tally.availability() > 0.999);
}
