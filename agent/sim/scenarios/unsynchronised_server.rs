//! A server has lost its own reference, says so, and drifts.
//!
//! Failure: a simple client that overlooks the leap bits follows it 40 ms away.
//!
//! Cure: it has no vote while it says that it is not synchronised, and has it back when it is.

use agent_sim::{Lie, Trial};
use timebase::{Unusable, Verdict};

use crate::support::{good, hours, minutes, ms, world};

#[test]
fn has_no_vote_while_it_says_so() {
    let mut trial = Trial::honest(world(good(1)));
    trial.run(minutes(30));
    (trial.link(0).server.leap, trial.link(0).server.lie) = (3, Lie::Offset(ms(40)));
    trial.run(hours(1));
    assert_eq!(trial.verdict(0), Verdict::Unusable(Unusable::Unsynchronised));
    (trial.link(0).server.leap, trial.link(0).server.lie) = (0, Lie::None);
    trial.run(minutes(10));
    assert_eq!(trial.verdict(0), Verdict::Selected);
}
