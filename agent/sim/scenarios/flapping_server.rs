//! A server dies and comes back every few minutes, for hours.
//!
//! Failure: alone it leaves the host in holdover again and again.
//!
//! Cure: beside two good ones its coming and going changes who takes part, and never the honesty of
//! the window.

use agent_sim::{Answering, Fault, HostConfig, Server, SimReport, Trial};
use timebase::SyncState;

use crate::support::{good, hours, minutes, ms, world};

#[test]
fn changes_nothing_for_the_others() {
    let becomes = |answering| Fault::ServerBecomes {
        source: 0,
        server: Box::new(Server { answering, ..Server::default() }),
    };
    let faults = vec![
        (minutes(10), Some(minutes(14)), becomes(Answering::Not)),
        (minutes(17), Some(minutes(14)), becomes(Answering::Normally)),
    ];
    let mut alone = Trial::honest(HostConfig { faults: faults.clone(), ..world(good(1)) });
    alone.run(hours(6));
    let beside = HostConfig { faults, ..world(good(3)) };
    let mut beside = Trial::honest(beside);
    beside.run(hours(6));
    let holdovers = |trial: &Trial| {
        let state = |made: &SimReport| made.report.state == SyncState::Holdover;
        trial.reports.iter().filter(|made| state(made)).count()
    };
    assert!(holdovers(&alone) > 100, "{}", holdovers(&alone));
    assert_eq!(holdovers(&beside), 0);
    assert!(beside.tally.widest < ms(15), "{:?}", beside.tally);
}
