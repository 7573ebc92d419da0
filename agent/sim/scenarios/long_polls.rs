//! One question in 17 minutes, 1 ms of jitter, a crystal 20 ppm off.
//!
//! Failure: a simple client that allows 1 ppm of drift is wrong most of the time, one that allows
//! 15 ppm still is.
//!
//! Cure: the rate is measured, and the window moves with it: it is true, and narrow in spite of the
//! long wait.

use agent_sim::{Crystal, HostConfig, Path, Trial};

use crate::support::{good, hours, ms, us, world};

fn config() -> HostConfig {
    let mut links = good(3);
    for link in &mut links {
        link.path = Path::symmetric(ms(2), us(1000));
    }
    let crystal = Crystal { rate_ppm: 20.0, ..Crystal::ordinary() };
    HostConfig { crystal, poll_log2: (10, 10), ..world(links) }
}

#[test]
fn keep_the_window_true() {
    let mut sure = Trial::honest(config()).naive_drift_ppm(1.0);
    sure.run(hours(24));
    assert!(sure.tally.naive.1 * 2 > sure.tally.naive.0, "{:?}", sure.tally);

    let mut trial = Trial::honest(config());
    trial.run(hours(12)).recount().run(hours(36));
    assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
    assert!(trial.tally.half_width() < ms(30), "{}", trial.tally.half_width());
    assert!(trial.tally.likely() > 0.99, "{:?}", trial.tally);
}
