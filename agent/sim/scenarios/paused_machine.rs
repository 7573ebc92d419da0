//! A virtual machine is paused for two minutes at a time: its clocks count, nothing runs.
//!
//! Failure: answers that waited for the machine to go on look two minutes late.
//!
//! Cure: an answer that took so long is too old to be one; bounds from before only age, and the
//! truth stays inside.

use agent_sim::{Fault, HostConfig, Trial};

use crate::support::{good, hours, minutes, ms, secs, world};

#[test]
fn goes_on_where_it_stopped() {
    let faults = vec![
        (minutes(7), Some(minutes(11)), Fault::Pause(secs(120))),
        (minutes(9), Some(secs(61)), Fault::Pause(ms(700))),
    ];
    let config = HostConfig { faults, poll_log2: (0, 2), ..world(good(3)) };
    let mut trial = Trial::honest(config);
    trial.run(hours(6));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    assert!(trial.tally.widest < ms(30), "{}", trial.tally.widest);
}
