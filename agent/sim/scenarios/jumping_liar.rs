//! A server jumps 30 ms away and back every five minutes.
//!
//! Failure: a host that knows no other is wrong after a jump, until the server is asked again.
//!
//! Cure: three good servers outvote it, and its contradictions keep it out between its jumps as
//! well.

use agent_sim::{Lie, Server, Trial};

use crate::support::{good, hours, minutes, ms, source, world};

#[test]
fn is_wrong_alone_and_kept_out_beside_three_good_servers() {
    let lie = Lie::Jumps(ms(30), minutes(5));
    let liar = source("liar", Server { lie, ..Server::default() });

    let mut alone = Trial::unguarded(world(vec![liar.clone()]));
    alone.run(hours(1));
    assert!(alone.tally.wrong > 60, "{:?}", alone.tally);

    let mut links = good(3);
    links.push(liar);
    let mut beside = Trial::honest(world(links));
    beside.run(hours(3));
    assert!(beside.tally.availability() > 0.99, "{:?}", beside.tally);
    assert!(beside.tally.widest < ms(15), "{:?}", beside.tally);
}
