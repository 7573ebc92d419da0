//! A stratum 2 server swings by 9.9 ms in twenty minutes and claims 10 ms, truly.
//!
//! Failure: a regression of its offsets finds, most surely, a rate that the host's oscillator never had.
//!
//! Cure: only what its bounds prove of the rate narrows the window: its claim leaves all of it open.

use agent_sim::{Path, Server, Trial};

use crate::support::{hours, minutes, ms, secs, source, us, world};

#[test]
fn is_not_taken_for_the_oscillator() {
    for servers in [1, 3] {
        let server = Server {
            stratum: 2,
            wander: (us(9_900), minutes(20)),
            root_dispersion: ms(10),
            ..Server::default()
        };
        let mut links: Vec<_> =
            (0..servers).map(|n| source(&format!("swinging-{n}"), server.clone())).collect();
        links.iter_mut().for_each(|link| link.path = Path::symmetric(us(50), us(5)));
        let mut trial = Trial::honest(world(links)).looking_every(secs(20));
        trial.run(hours(30));
        assert!(trial.tally.availability() > 0.999, "{:?}", trial.tally);
        assert!(trial.tally.half_width() < ms(21), "{}", trial.tally.half_width());
    }
}
