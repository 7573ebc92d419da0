//! A leap second is inserted; all servers announce it, and the kernel applies it.
//!
//! Failure: a simple client is a second wrong from the leap until its next poll.
//!
//! Cure: the agent knows what is coming: its windows are true on both sides of the leap, and all
//! sources stay.

use agent_sim::{Fault, HostConfig, Leap, Steering, Trial};
use timebase::{Leap as Warning, SyncState};

use crate::support::{BEFORE_MIDNIGHT, good, hours, minutes, ms, secs, world};

#[test]
fn is_crossed_without_a_wrong_window() {
    let mut links = good(4);
    links.iter_mut().for_each(|link| link.server.leap = 1);
    let config = HostConfig {
        leap: Some(Leap { after: hours(2), inserted: true }),
        faults: vec![(hours(2), None, Fault::Step(secs(-1)))],
        steering: Steering::None,
        ..world(links)
    };
    let mut trial = Trial::honest_from(BEFORE_MIDNIGHT, config);
    trial.run(hours(2) - minutes(1));
    assert_eq!(trial.look_now().report.leap, Warning::Insert);
    trial.run(minutes(1) + secs(5));
    for source in 0..4 {
        trial.link(source).server.leap = 0;
    }
    trial.run(minutes(30));
    assert!(trial.width() < ms(5), "{}", trial.width());
    assert_eq!(trial.state(), SyncState::Synchronised);
    assert!((0..4).all(|i| trial.verdict(i).takes_part()));
}
