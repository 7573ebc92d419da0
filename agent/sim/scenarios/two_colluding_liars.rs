//! Two servers tell the same lie, 25 ms.
//!
//! Failure: with one honest server against them, they are the majority and are believed.
//!
//! Cure: three honest servers outvote the two: both are named.

use agent_sim::{Server, Trial};
use timebase::Verdict;

use crate::support::{good, hours, minutes, ms, source, world};

#[test]
fn win_against_one_and_lose_against_three() {
    let liars = || ["x", "y"].map(|name| source(name, Server::off(ms(25))));

    let mut outvoted = Trial::unguarded(world([good(1), liars().to_vec()].concat()));
    assert!(outvoted.run(minutes(5)).is_wrong());

    let mut five = Trial::honest(world([liars().to_vec(), good(3)].concat()));
    five.run(hours(2));
    assert_eq!(five.verdict(0), Verdict::Falseticker);
    assert_eq!(five.verdict(1), Verdict::Falseticker);
    assert!(five.tally.availability() > 0.99, "{:?}", five.tally);
}
