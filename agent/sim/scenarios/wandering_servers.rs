//! Honest stratum 2 servers wander by 400 µs and claim 600 µs, each in its own rhythm.
//!
//! Failure: a client that ignores the claims takes them for liars, or for the truth.
//!
//! Cure: the claims are part of the bounds: all take part, and the window covers what they leave
//! open.

use agent_sim::{Server, Trial};

use crate::support::{hours, secs, source, us, world};

#[test]
fn are_all_heard_with_their_claims() {
    let server = |period| Server {
        stratum: 2,
        wander: (us(400), secs(period)),
        root_dispersion: us(600),
        ..Server::default()
    };
    let links = [1700, 2900, 4100].map(|period| source(&period.to_string(), server(period)));
    let mut trial = Trial::honest(world(links.to_vec()));
    trial.run(hours(24));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    assert!((0..3).all(|i| trial.verdict(i).takes_part()));
}
