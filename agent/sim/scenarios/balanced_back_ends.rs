//! Two servers, 40 ms apart, answer in turns behind one balanced address.
//!
//! Failure: a client that asks again at once whenever an answer contradicts the one before sends a
//! thousand requests a minute, even to a server that asked for fewer.
//!
//! Cure: one burst tells that they have not settled; then they are asked no more often than others,
//! and never more often than they allowed.

use agent_sim::{Answering, Lie, Server, Trial};

use crate::support::{good, minutes, ms, secs, source, world};

/// Which of the two answers depends on the moment.
fn balanced() -> Server {
    Server { lie: Lie::Jumps(ms(40), ms(7)), ..Server::default() }
}

/// How often the first source answered.
fn answers(trial: &mut Trial) -> u64 {
    let source = &trial.look_now().report.sources[0];
    source.accepted + source.refused
}

#[test]
fn are_not_flooded() {
    let links = [vec![source("balanced", balanced())], good(3)].concat();
    let mut trial = Trial::honest(world(links));
    trial.run(secs(1));
    for minute in 0..30 {
        let before = answers(&mut trial);
        trial.run(minutes(1));
        let more = answers(&mut trial) - before;
        assert!(more <= 16, "{more} in minute {minute}");
    }
    assert!(!trial.verdict(0).takes_part(), "{}", trial.verdict(0));
}

#[test]
fn are_asked_no_more_often_than_they_allow() {
    let links = [vec![source("balanced", balanced())], good(3)].concat();
    let mut trial = Trial::honest(world(links));
    trial.link(0).server.answering = Answering::Kiss(*b"RATE");
    trial.run(secs(20));
    trial.link(0).server.answering = Answering::Normally;
    // Twice the shortest interval of 16 s by now, for good.
    for minute in 0..60 {
        let before = answers(&mut trial);
        trial.run(minutes(1));
        let more = answers(&mut trial) - before;
        assert!(more <= 2, "{more} in minute {minute}");
    }
}
