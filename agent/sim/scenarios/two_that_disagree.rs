//! Two servers are 10 ms apart, and nobody can tell which is right.
//!
//! Failure: a client that takes the first that answers is wrong.
//!
//! Cure: without a majority there is no window, and both sources say why; a third server settles
//! it.

use agent_sim::{Server, Trial};
use timebase::{Unusable, Verdict};

use crate::support::{good, hours, minutes, ms, source, world};

#[test]
fn leave_no_window_until_a_third_decides() {
    let liar = source("liar", Server::off(ms(10)));
    // One of two is no minority: until the second has spoken, the first is believed.
    let mut two = Trial::unguarded(world([vec![liar.clone()], good(1)].concat()));
    two.run(hours(1));
    assert!(two.tally.wrong < 5, "{:?}", two.tally);
    assert_eq!(two.tally.naive.0, two.tally.naive.1, "the simple client believes the liar");
    assert_eq!(two.window(), None);
    assert_eq!(two.verdict(0), Verdict::Unusable(Unusable::NoMajority));
    assert_eq!(two.verdict(1), Verdict::Unusable(Unusable::NoMajority));

    let mut three = Trial::honest(world([vec![liar], good(2)].concat()));
    three.run(minutes(10));
    assert_eq!(three.verdict(0), Verdict::Falseticker);
    assert!(three.window().is_some());
}
