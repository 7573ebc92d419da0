//! A third of the packets is held back for up to three seconds: later ones overtake them.
//!
//! Failure: an old answer taken for the present one shows an offset of seconds.
//!
//! Cure: an answer belongs to its request or to none: latecomers are refused, and the window stays
//! true.

use agent_sim::{HostConfig, Path, Trial};

use crate::support::{good, hours, ms, secs, us, world};

#[test]
fn confuses_nobody() {
    let mut links = good(2);
    for link in &mut links {
        link.path = Path { held: (0.33, secs(3)), ..Path::symmetric(ms(2), us(100)) };
    }
    let mut trial = Trial::honest(HostConfig { poll_log2: (0, 0), ..world(links) });
    trial.run(hours(2));
    let source = trial.look_now().report.sources.remove(0);
    assert!(source.refused > 500, "{}", source.refused);
    assert!(trial.tally.rms() < us(200), "{}", trial.tally.rms());
}
