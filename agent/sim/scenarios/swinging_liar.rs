//! A server swings by 20 ms to both sides, once in half an hour.
//!
//! Failure: a host that knows no other swings with it.
//!
//! Cure: three good servers outvote it; as it passes through the right time it may take part, and
//! does no harm.

use agent_sim::{Lie, Server, Trial};

use crate::support::{good, hours, minutes, ms, source, world};

#[test]
fn is_followed_alone_and_harmless_beside_three_good_servers() {
    let lie = Lie::Swings(ms(20), minutes(30));
    let liar = source("liar", Server { lie, ..Server::default() });

    let mut alone = Trial::unguarded(world(vec![liar.clone()]));
    alone.run(hours(2));
    assert!(alone.tally.wrong > 300, "{:?}", alone.tally);

    let mut links = good(3);
    links.push(liar);
    let mut beside = Trial::honest(world(links));
    beside.run(hours(4));
    assert!(beside.tally.availability() > 0.99, "{:?}", beside.tally);
    assert!(beside.tally.widest < ms(15), "{:?}", beside.tally);
}
