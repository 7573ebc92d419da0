//! A server is 80 ms wrong and claims microseconds.
//!
//! Failure: a host that knows no other server believes it.
//!
//! Cure: beside three good servers it is named a falseticker, and the window stays under 2 ms.

use agent_sim::{Server, Trial};
use timebase::{SyncState, Verdict};

use crate::support::{good, minutes, ms, source, world};

#[test]
fn is_believed_alone_and_named_beside_three_good_servers() {
    let liar = source("liar", Server::off(ms(80)));

    let mut alone = Trial::unguarded(world(vec![liar.clone()]));
    assert!(alone.run(minutes(5)).is_wrong());

    let mut links = good(3);
    links.insert(2, liar);
    let mut beside = Trial::honest(world(links));
    beside.run(minutes(30));
    assert_eq!(beside.verdict(2), Verdict::Falseticker);
    assert_eq!(beside.state(), SyncState::Synchronised);
    assert!(beside.width() < ms(5));
}
