//! A server restarts with a clock 2000 s ahead and is put right ten minutes later.
//!
//! Failure: a simple client is 2000 s wrong for ten minutes.
//!
//! Cure: the jump contradicts all that the server said before: it loses its vote at once, and has
//! it back soon after the cure.

use agent_sim::{Lie, Trial};
use timebase::SyncState;

use crate::support::{good, minutes, ms, secs, world};

#[test]
fn costs_the_server_its_vote_and_nothing_else() {
    let mut trial = Trial::honest(world(good(3)));
    trial.run(minutes(20));
    trial.link(0).server.lie = Lie::Offset(secs(2000));
    trial.recount().run(minutes(10));
    assert!(!trial.verdict(0).takes_part());
    assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
    assert_eq!(trial.tally.availability(), 1.0);
    trial.link(0).server.lie = Lie::None;
    trial.run(minutes(5));
    assert!(trial.verdict(0).takes_part(), "{}", trial.verdict(0));
    assert_eq!(trial.state(), SyncState::Synchronised);
    assert!(trial.width() < ms(5));
}

#[test]
fn of_the_only_server_leaves_no_window_rather_than_a_wrong_one_once_it_was_asked() {
    let mut trial = Trial::unguarded(world(good(1)));
    trial.run(minutes(20));
    assert_eq!(trial.tally.wrong, 0);
    trial.link(0).server.lie = Lie::Offset(secs(2000));
    let noticed = trial.until(minutes(3), |report| report.bounds.is_none());
    assert!(noticed.is_some(), "a contradiction leaves nothing to believe");
    assert_eq!(trial.tally.wrong, 0, "what it said before stays true");
}
