//! A busy server writes its sending stamp up to 2 ms before the packet leaves.
//!
//! Failure: in the basic mode, every answer hides that wait in the delay: the estimate is half of
//! it off.
//!
//! Cure: the interleaved mode tells the exact sending stamp of the answer before: estimate and
//! window are sharper.

use agent_sim::{Queueing, Server, Trial};

use crate::support::{hours, source, us, world};

#[test]
fn are_mended_by_the_interleaved_mode() {
    let run = |interleaved| {
        let stamped_early = Queueing::Normal(us(1000), us(300));
        let server = Server { stamped_early, interleaved, ..Server::default() };
        let mut trial = Trial::honest(world(vec![source("busy", server)]));
        trial.run(hours(1)).recount().run(hours(4));
        assert_eq!(trial.look_now().report.sources[0].interleaved, interleaved);
        (trial.tally.rms(), trial.tally.half_width())
    };
    let (basic, interleaved) = (run(false), run(true));
    assert!(interleaved.0.times(4) < basic.0, "{} against {}", interleaved.0, basic.0);
    assert!(interleaved.1 < basic.1, "{} against {}", interleaved.1, basic.1);
}
