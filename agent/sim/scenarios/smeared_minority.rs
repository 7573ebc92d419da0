//! One of four servers spreads the leap second over the day around it, the others leap.
//!
//! Failure: a host that takes its time for UTC is up to half a second wrong.
//!
//! Cure: it is found out and kept apart: smeared and unsmeared time are never mixed in one window.

use agent_sim::{Fault, HostConfig, Leap, Server, Steering, Trial};
use timebase::SmearState;

use crate::support::{BEFORE_MIDNIGHT, good, hours, minutes, ms, secs, source, world};

#[test]
fn is_kept_apart() {
    let smears = Server { smear: SmearState::Linear24h, ..Server::default() };
    let mut links = good(3);
    links.iter_mut().for_each(|link| link.server.leap = 1);
    links.push(source("smears", smears));
    let config = HostConfig {
        leap: Some(Leap { after: hours(2), inserted: true }),
        faults: vec![(hours(2), None, Fault::Step(secs(-1)))],
        steering: Steering::None,
        ..world(links)
    };
    let alone = HostConfig { links: vec![config.links[3].clone()], ..config.clone() };
    let mut alone = Trial::unguarded_from(BEFORE_MIDNIGHT, alone);
    alone.run(hours(1));
    let error = alone.look_now().report.sources[0].offset.unwrap() - alone.look_now().true_error;
    assert!(error.abs() > ms(300), "taken for UTC: {error}");

    let mut trial = Trial::honest_from(BEFORE_MIDNIGHT, config);
    trial.run(hours(2) + secs(5));
    for source in 0..3 {
        trial.link(source).server.leap = 0;
    }
    trial.run(hours(2));
    assert!(!trial.verdict(3).takes_part(), "{}", trial.verdict(3));
    assert!((0..3).all(|i| trial.verdict(i).takes_part()));
    trial.run(minutes(10));
    assert!(trial.width() < ms(5), "{}", trial.width());
}
