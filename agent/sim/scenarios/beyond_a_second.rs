//! A round trip takes 1.3 s, by satellite through a full queue; or 600 ms, where polls are twice as
//! frequent.
//!
//! Failure: a client that gives up after a second, or at the next poll, never hears an answer.
//!
//! Cure: it waits for two seconds whatever the interval is, with one request out at a time.

use agent_sim::{HostConfig, Path, Server, SourceLink, Trial};
use timebase::Verdict;

use crate::support::{hours, minutes, ms, world};

fn far(rtt: i64) -> SourceLink {
    SourceLink::new("far", Path::symmetric(ms(rtt), ms(20)), Server::default())
}

#[test]
fn is_waited_for() {
    for (rtt, poll) in [(1_300, 4), (1_300, 0), (600, -2), (1_300, -2)] {
        let config = HostConfig { poll_log2: (poll, poll), ..world(vec![far(rtt)]) };
        let mut trial = Trial::honest(config);
        trial.run(minutes(1)).recount().run(hours(1));
        assert_eq!(trial.verdict(0), Verdict::Selected, "{rtt} ms");
        assert_eq!(trial.tally.availability(), 1.0, "{rtt} ms");
        assert!(trial.tally.widest < ms(rtt + 200), "{}", trial.tally.widest);
        let source = &trial.look_now().report.sources[0];
        assert_eq!((source.reach, source.refused), (255, 0));
        // One request at a time: no more answers than round trips.
        let longest = i64::try_from(source.accepted).unwrap() * rtt;
        assert!(ms(longest) <= hours(1) + minutes(2), "{} answers", source.accepted);
    }
}
