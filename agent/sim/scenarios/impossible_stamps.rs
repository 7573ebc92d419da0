//! Two of three servers send stamps that cannot be true: answers older than their requests, or faster
//! than time.
//!
//! Failure: a client that waits for their first good answer, as it does at a start, waits for ever.
//!
//! Cure: each says so in its verdict, has no vote, and the third makes the window.

use agent_sim::{Lie, Server, Trial};
use timebase::{Unusable, Verdict};

use crate::support::{good, hours, minutes, ms, source, world};

#[test]
fn keep_nobody_waiting() {
    // More than answering took, or less than none.
    for by in [ms(5), ms(-5)] {
        let bad = source("bad", Server { lie: Lie::Hasty(by), ..Server::default() });
        let mut trial = Trial::honest(world([good(1), vec![bad.clone(), bad]].concat()));
        trial.run(minutes(5)).recount().run(hours(1));
        assert_eq!(trial.tally.availability(), 1.0, "{by}");
        assert_eq!(trial.verdict(0), Verdict::Selected);
        let report = trial.look_now().report;
        for source in &report.sources[1..] {
            assert_eq!(source.verdict, Verdict::Unusable(Unusable::BadStamps));
            assert_eq!((source.reach, source.accepted), (0, 0));
        }
        trial.link(1).server.lie = Lie::None;
        trial.run(minutes(10));
        assert!(trial.verdict(1).takes_part(), "{}", trial.verdict(1));
    }
}

#[test]
fn are_not_believed_for_what_was_said_before() {
    let mut trial = Trial::honest(world(good(1)));
    trial.run(hours(1));
    trial.link(0).server.lie = Lie::Hasty(ms(5));
    trial.run(hours(24));
    assert_eq!(trial.verdict(0), Verdict::Unusable(Unusable::BadStamps));
}
