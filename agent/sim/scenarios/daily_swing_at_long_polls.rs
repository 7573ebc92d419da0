//! Nothing but day and night swing the crystal, slowly, by 3 ppm, and servers are asked every 17 minutes.
//!
//! Failure: the mean rate over the hours that such polls need is taken for the rate now: a simple client
//! that allows 1 ppm besides is wrong.
//!
//! Cure: a mean over several hours says the less of the rate now, the longer ago it is.

use agent_sim::{Crystal, HostConfig, Swing, Trial};

use crate::support::{good, hours, secs, world};

#[test]
fn is_allowed_for() {
    for servers in [1, 3] {
        let crystal = Crystal {
            rate_ppm: 0.0,
            swings: vec![Swing { ppm: 3.0, period: hours(24) }],
            ..Crystal::ordinary()
        };
        let config = HostConfig { crystal, poll_log2: (10, 10), ..world(good(servers)) };
        let mut trial = Trial::honest(config).looking_every(secs(20)).naive_drift_ppm(1.0);
        trial.run(hours(96));
        assert!(trial.tally.naive.1 > 0, "{:?}", trial.tally);
        assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
    }
}
