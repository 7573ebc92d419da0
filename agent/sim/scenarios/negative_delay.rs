//! A server says that answering took 5 ms longer than it did.
//!
//! Failure: the delay comes out negative, and the offset of a simple client with it means nothing.
//!
//! Cure: effects do not come before causes: such answers are refused and counted, and the others
//! make the window.

use agent_sim::{Lie, Server, Trial};

use crate::support::{good, hours, ms, source, world};

#[test]
fn is_refused() {
    let hasty = source("hasty", Server { lie: Lie::Hasty(ms(5)), ..Server::default() });

    let mut alone = Trial::honest(world(vec![hasty.clone()]));
    alone.run(hours(1));
    assert_eq!(alone.tally.windows, 0, "no bounds follow from the impossible");

    let mut beside = Trial::honest(world([vec![hasty], good(2)].concat()));
    beside.run(hours(1));
    let report = beside.look_now().report;
    assert!(report.sources[0].refused > 50, "{}", report.sources[0].refused);
    assert!(!report.sources[0].verdict.takes_part());
    assert!(beside.width() < ms(5));
}
