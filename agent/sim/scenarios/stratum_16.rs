//! A server falls to stratum 16, or claims a root distance of four seconds.
//!
//! Failure: a simple client takes its numbers all the same.
//!
//! Cure: such answers are no measurements; the verdict says why, and the vote comes back with the
//! cure.

use agent_sim::{Server, Trial};
use timebase::{Unusable, Verdict};

use crate::support::{good, minutes, secs, source, world};

#[test]
fn gives_no_window_and_says_why() {
    let cases = [
        (Server { stratum: 16, ..Server::off(secs(3)) }, Unusable::Stratum),
        (Server { root_dispersion: secs(4), ..Server::off(secs(3)) }, Unusable::RootDistance),
    ];
    for (server, why) in cases {
        let mut trial = Trial::honest(world(vec![source("bad", server)]));
        trial.run(minutes(10));
        assert_eq!(trial.verdict(0), Verdict::Unusable(why));
        assert_eq!(trial.tally.windows, 0);
        trial.link(0).server = good(1).remove(0).server;
        trial.run(minutes(10));
        assert_eq!(trial.verdict(0), Verdict::Selected);
    }
}
