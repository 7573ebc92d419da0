//! Somebody sets the system clock by −0.4 s, then by 3 s.
//!
//! Failure: a client that looks at the system clock at polls only does not know for a minute.
//!
//! Cure: the very next report says so, with the size, and the window moves with the clock at once.

use agent_sim::{Fault, HostConfig, Steering, Trial};
use timebase::EventKind;

use crate::support::{good, minutes, ms, secs, world};

#[test]
fn is_seen_at_once() {
    let config = HostConfig { steering: Steering::None, ..world(good(3)) };
    let mut trial = Trial::honest(config);
    trial.run(minutes(10));
    for by in [ms(-400), secs(3)] {
        let before = trial.reports.len();
        trial.inflict(Fault::Step(by)).run(secs(1));
        assert!(trial.reports.len() > before, "it does not wait for its turn");
        trial.run(minutes(2));
    }
    let sizes: Vec<_> = trial
        .events()
        .filter_map(|event| if let EventKind::Step { by } = event { Some(*by) } else { None })
        .collect();
    assert_eq!(sizes.len(), 2, "{sizes:?}");
    assert!((sizes[0] - ms(-400)).abs() < ms(1) && (sizes[1] - secs(3)).abs() < ms(1));
    assert_eq!(trial.reports.last().unwrap().report.steps, 2);
}
