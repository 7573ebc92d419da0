//! A server answers RATE: asked too often.
//!
//! Failure: a client that goes on asking every second loses the server for good.
//!
//! Cure: the poll interval is doubled and stays so, and the server is of use again.

use agent_sim::{Answering, HostConfig, Trial};

use crate::support::{good, hours, minutes, secs, world};

#[test]
fn is_obeyed_and_remembered() {
    let config = HostConfig { poll_log2: (0, 0), ..world(good(2)) };
    let mut trial = Trial::honest(config);
    trial.run(minutes(5));
    assert_eq!(trial.look_now().report.sources[0].poll_log2, 0);
    trial.link(0).server.answering = Answering::Kiss(*b"RATE");
    trial.run(secs(20));
    trial.link(0).server.answering = Answering::Normally;
    trial.run(hours(1));
    let sources = trial.look_now().report.sources;
    assert!(sources[0].poll_log2 >= 1, "{}", sources[0].poll_log2);
    assert_eq!(sources[1].poll_log2, 0, "the other never complained");
    assert!(sources[0].verdict.takes_part());
}
