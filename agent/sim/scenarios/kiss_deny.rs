//! A server answers DENY: go away.
//!
//! Failure: a client that ignores it is a nuisance, and measures nothing.
//!
//! Cure: it is not asked again, the verdict says so, and the others make the window.

use agent_sim::{Answering, Server, Trial};
use timebase::{Unusable, Verdict};

use crate::support::{good, hours, ms, source, world};

#[test]
fn is_obeyed() {
    for code in [*b"DENY", *b"RSTR"] {
        let denies = Server { answering: Answering::Kiss(code), ..Server::default() };
        let mut trial = Trial::honest(world([vec![source("denies", denies)], good(2)].concat()));
        trial.run(hours(2));
        let report = trial.look_now().report;
        assert_eq!(report.sources[0].verdict, Verdict::Unusable(Unusable::Denied));
        assert!(report.sources[0].refused < 10, "{}", report.sources[0].refused);
        assert!(trial.width() < ms(5));
    }
}
