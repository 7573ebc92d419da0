//! A server is 400 µs off and claims a root distance of microseconds.
//!
//! Failure: a simple client that believes its claim is wrong nine times out of ten.
//!
//! Cure: two servers with honest claims of 1 ms outvote it: truth stays inside, whatever part it
//! takes.

use agent_sim::{Path, Server, Trial};
use timebase::Span;

use crate::support::{hours, source, us, world};

#[test]
fn misleads_a_simple_client_and_not_the_majority() {
    let server = Server { stratum: 1, ..Server::off(us(400)) };
    let mut liar = source("liar", server);
    liar.path = Path::symmetric(us(200), us(20));
    let modest = |name: &str, error: Span| {
        let claim = Server { error, stratum: 2, root_dispersion: us(1000), ..Server::default() };
        source(name, claim)
    };

    let links = vec![liar, modest("a", us(-300)), modest("b", us(200))];
    let mut trial = Trial::honest(world(links)).naive_drift_ppm(1.0);
    trial.run(hours(2));
    let (looks, wrong) = trial.tally.naive;
    assert!(wrong * 10 > looks * 9, "{:?}", trial.tally);
}
