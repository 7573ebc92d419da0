//! A server that was right for an hour drifts away by 20 µs a second.
//!
//! Failure: a host that knows no other follows it without a word.
//!
//! Cure: three good servers outvote it, and it is named as soon as its bounds leave theirs.

use agent_sim::{Lie, Server, Trial};
use timebase::Verdict;

use crate::support::{good, hours, minutes, ms, source, world};

#[test]
fn is_followed_alone_and_named_beside_three_good_servers() {
    let lie = Lie::Ramp(hours(1), 20.0);
    let liar = source("liar", Server { lie, ..Server::default() });

    let mut alone = Trial::unguarded(world(vec![liar.clone()]));
    assert!(!alone.run(hours(1)).is_wrong());
    assert!(alone.run(hours(1)).is_wrong());

    let mut links = good(3);
    links.push(liar);
    let mut beside = Trial::honest(world(links));
    beside.run(hours(1));
    assert!(beside.verdict(3).takes_part());
    beside.run(minutes(5));
    assert!(!beside.verdict(3).takes_part(), "6 ms off, {}", beside.verdict(3));
    beside.run(hours(1));
    assert!(matches!(beside.verdict(3), Verdict::Falseticker | Verdict::Unusable(_)));
    assert!(beside.width() < ms(5));
}
