//! One server announces a leap second that does not come, and leaps all the same.
//!
//! Failure: a host that knows no other is a second wrong after midnight.
//!
//! Cure: three servers that say nothing outvote it: there is no warning, and the one that leapt is
//! named.

use agent_sim::{Lie, Server, Trial};
use timebase::Leap as Warning;

use crate::support::{BEFORE_MIDNIGHT, good, hours, minutes, ms, secs, source, world};

#[test]
fn is_believed_alone_and_outvoted_by_three() {
    let liar = || source("liar", Server { leap: 1, ..Server::default() });
    let leaps = |trial: &mut Trial, source: usize| {
        trial.link(source).server.leap = 0;
        trial.link(source).server.lie = Lie::Offset(secs(-1));
    };

    let mut alone = Trial::unguarded_from(BEFORE_MIDNIGHT, world(vec![liar()]));
    alone.run(hours(2));
    leaps(&mut alone, 0);
    assert!(alone.run(hours(1)).is_wrong());

    let links = [good(3), vec![liar()]].concat();
    let mut beside = Trial::honest_from(BEFORE_MIDNIGHT, world(links));
    beside.run(hours(2));
    assert_eq!(beside.look_now().report.leap, Warning::None);
    leaps(&mut beside, 3);
    beside.run(minutes(30));
    assert!(!beside.verdict(3).takes_part(), "{}", beside.verdict(3));
    assert!(beside.width() < ms(5));
}
