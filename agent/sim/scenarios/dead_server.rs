//! One of three servers dies for good.
//!
//! Failure: a client that knows only this one has a window that grows and grows.
//!
//! Cure: the other two go on with it gone; it is named unreachable after eight polls.

use agent_sim::{Answering, Trial};
use timebase::{SyncState, Verdict};

use crate::support::{good, hours, minutes, ms, world};

#[test]
fn is_named_and_missed_by_nobody() {
    let mut alone = Trial::honest(world(good(1)));
    alone.run(minutes(30));
    let before = alone.width();
    alone.link(0).server.answering = Answering::Not;
    alone.run(hours(1));
    assert!(alone.width() > before + ms(1), "{} after {before}", alone.width());
    assert_eq!(alone.state(), SyncState::Holdover);

    let mut beside = Trial::honest(world(good(3)));
    beside.run(minutes(30));
    beside.link(1).server.answering = Answering::Not;
    beside.run(minutes(30));
    assert_eq!(beside.verdict(1), Verdict::Unreachable);
    assert_eq!(beside.state(), SyncState::Synchronised);
    assert!(beside.width() < ms(5));
}
