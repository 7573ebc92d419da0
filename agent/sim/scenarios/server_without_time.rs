//! A server restarts and has no time yet: stratum 0, leap indicator 3 and the word INIT, or none.
//!
//! Failure: a client that takes every stratum 0 for a kiss it does not know goes on believing what the
//! server said a day ago.
//!
//! Cure: it has no vote while it says that it is not synchronised, a server that only ever says RATE
//! counts as silent, and both come back.

use agent_sim::{Answering, Server, Trial};
use timebase::{Unusable, Verdict};

use crate::support::{good, hours, minutes, source, world};

#[test]
fn has_no_vote_until_it_has_time_again() {
    for word in [*b"INIT", *b"STEP", [0; 4]] {
        let mut trial = Trial::honest(world(good(1)));
        trial.run(hours(1));
        trial.link(0).server.answering = Answering::Kiss(word);
        trial.run(minutes(5));
        assert_eq!(trial.verdict(0), Verdict::Unusable(Unusable::Unsynchronised));
        trial.run(hours(24));
        assert_eq!(trial.verdict(0), Verdict::Unusable(Unusable::Unsynchronised));
        trial.link(0).server.answering = Answering::Normally;
        trial.run(minutes(10));
        assert_eq!(trial.verdict(0), Verdict::Selected);
    }
}

#[test]
fn a_server_that_only_says_rate_is_silent() {
    let mut trial = Trial::honest(world(good(1)));
    trial.run(hours(1));
    trial.link(0).server.answering = Answering::Kiss(*b"RATE");
    trial.run(hours(24));
    assert_eq!(trial.verdict(0), Verdict::Unreachable);
    assert_eq!(trial.look_now().report.sources[0].reach, 0);
}

#[test]
fn does_not_keep_the_window_from_one_that_has() {
    let without = |answering| source("bad", Server { answering, ..Server::default() });
    for word in [*b"INIT", *b"RATE"] {
        let bad = without(Answering::Kiss(word));
        let mut trial = Trial::honest(world([good(1), vec![bad.clone(), bad]].concat()));
        trial.run(minutes(30)).recount().run(hours(1));
        assert_eq!(trial.tally.availability(), 1.0, "{word:?}");
        assert_eq!(trial.verdict(0), Verdict::Selected);
    }
}
