//! A virtual machine is stopped for ten minutes, or goes on from a snapshot that old: all its clocks stand
//! still, and nothing in it can tell.
//!
//! Failure: what was known before is ten minutes wrong, and until the next answers come nothing says so.
//!
//! Cure: there is none within the machine but those answers. They contradict all that was known, so there
//! is no window rather than a wrong one, until the sources, asked in a burst, agree with themselves anew.

use agent_sim::{Fault, HostConfig, Trial};

use crate::support::{good, minutes, ms, secs, world};

#[test]
fn is_wrong_until_the_next_answers_and_no_longer() {
    let config = HostConfig { poll_log2: (4, 4), ..world(good(3)) };
    let mut trial = Trial::unguarded(config);
    trial.run(minutes(30));
    assert_eq!(trial.tally.wrong, 0);
    let frozen = minutes(10);
    trial.inflict(Fault::Freeze(frozen)).run(frozen + secs(40));
    let wrong = trial.tally.wrong;
    assert!((1..=20).contains(&wrong), "until the next poll: {wrong}");
    trial.recount().run(minutes(10));
    assert_eq!(trial.tally.wrong, 0, "{:?}", trial.tally);
    assert!(trial.tally.availability() > 0.9, "{:?}", trial.tally);
    assert!(trial.width() < ms(5), "{}", trial.width());
}
