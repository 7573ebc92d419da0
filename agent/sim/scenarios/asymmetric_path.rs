//! The way there takes 1 ms, the way back 9 ms, always.
//!
//! Failure: the middle of the delay is 4 ms off, and the small jitter of the offsets makes it look
//! certain.
//!
//! Cure: no measurement can tell which way was longer, so the window stays as wide as the delay.

use agent_sim::{Path, Queueing, Trial};

use crate::support::{good, hours, ms, us, world};

#[test]
fn is_never_narrower_than_its_delay_allows() {
    let mut links = good(2);
    for link in &mut links {
        link.path = Path {
            out: ms(1),
            back: ms(9),
            queue_out: Queueing::Exponential(us(20)),
            queue_back: Queueing::Exponential(us(20)),
            ..Path::default()
        };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(6));
    let made = trial.look_now();
    let (source, truth) = (&made.report.sources[0], made.true_error);
    let (offset, jitter) = (source.offset.unwrap(), source.jitter.unwrap());
    assert!((offset - truth).abs() > jitter.times(10), "{offset} ± {jitter}, but {truth}");
    assert!(trial.width() >= ms(10), "the delay of both ways");
    assert_eq!(trial.tally.likely(), 1.0, "the statistical window allows for it as well");
}
