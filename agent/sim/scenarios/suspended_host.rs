//! A laptop sleeps for an hour; its crystal does not count that.
//!
//! Failure: without the word that it slept, the bounds of before are an hour wrong.
//!
//! Cure: told of the sleep, the agent forgets all bounds, asks at once, and has a window again
//! within seconds.

use agent_sim::{Fault, Trial};
use timebase::EventKind;

use crate::support::{good, hours, minutes, ms, secs, world};

#[test]
fn forgets_what_it_knew() {
    let sleep = |noticed| Fault::Suspend { lasts: hours(1), noticed };
    let mut unaware = Trial::unguarded(world(good(3)));
    unaware.run(minutes(30)).inflict(sleep(false)).run(hours(1) + secs(5));
    assert!(unaware.tally.wrong > 0, "{:?}", unaware.tally);

    let mut aware = Trial::honest(world(good(3)));
    aware.run(minutes(30)).inflict(sleep(true)).run(hours(1));
    assert!(aware.until(secs(10), |report| report.bounds.is_some()).is_some());
    aware.run(minutes(10));
    assert!(aware.width() < ms(5), "{}", aware.width());
    assert!(aware.events().any(|event| *event == EventKind::Suspended { lasted: hours(1) }));
}
