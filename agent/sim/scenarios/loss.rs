//! Every fifth packet is lost, each way.
//!
//! Failure: a client that counts a few misses as the end of a server gives up again and again.
//!
//! Cure: a lost answer is one answer fewer: the sources stay, and the window hardly grows.

use agent_sim::{Path, Trial};
use timebase::{SyncState, Verdict};

use crate::support::{good, hours, ms, us, world};

#[test]
fn costs_answers_and_not_sources() {
    let mut links = good(3);
    for link in &mut links {
        link.path = Path { loss: 0.2, ..Path::symmetric(ms(2), us(100)) };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(24));
    assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    let gone = trial.reports.iter().flat_map(|made| &made.report.sources);
    let gone = gone.filter(|source| source.verdict == Verdict::Unreachable).count();
    assert!(gone * 100 < trial.reports.len(), "eight misses in a row are rare: {gone}");
    let held = trial.reports.iter().filter(|made| made.report.state == SyncState::Holdover);
    assert_eq!(held.count(), 0);
    assert!(trial.tally.half_width() < ms(5), "{}", trial.tally.half_width());
}
