//! A liar stays so close to the truth that its bounds overlap everybody's.
//!
//! Failure: nothing proves it wrong; a host that takes the narrowest source as the truth is off by
//! 300 µs.
//!
//! Cure: the window covers every place where a majority agrees, so the truth is in it although the
//! liar takes part.

use agent_sim::{Path, Server, Trial};

use crate::support::{good, hours, source, us, world};

#[test]
fn takes_part_and_does_not_push_the_truth_out() {
    let mut liar = source("liar", Server::off(us(300)));
    liar.path = Path::symmetric(us(100), us(5));

    let mut alone = Trial::unguarded(world(vec![liar.clone()]));
    assert!(alone.run(hours(1)).tally.wrong > 60, "{:?}", alone.tally);

    let mut links = vec![liar];
    for mut link in good(3) {
        link.path = Path::symmetric(us(2000), us(200));
        links.push(link);
    }
    let mut beside = Trial::honest(world(links));
    beside.run(hours(6));
    assert!(beside.verdict(0).takes_part(), "{}", beside.verdict(0));
}
