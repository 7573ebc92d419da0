//! The liar is near and answers first; the honest servers are far away.
//!
//! Failure: alone it is believed from its first answer on.
//!
//! Cure: the window waits until the others were heard or had their chance, after the start and
//! after an outage of all.

use agent_sim::{Fault, Path, Server, Trial};

use crate::support::{good, minutes, ms, secs, source, us, world};

#[test]
fn is_not_believed_before_the_others_had_their_chance() {
    let mut liar = source("liar", Server::off(secs(5)));
    liar.path = Path::symmetric(us(50), us(5));

    let mut alone = Trial::unguarded(world(vec![liar.clone()]));
    assert!(alone.run(secs(2)).is_wrong());

    let mut links = vec![liar];
    for mut link in good(2) {
        link.path = Path::symmetric(ms(600), ms(50));
        links.push(link);
    }
    let mut trial = Trial::honest(world(links));
    trial.run(minutes(10));
    assert!(trial.window().is_some());
    trial.inflict(Fault::SourcesDie).run(minutes(90));
    trial.inflict(Fault::SourcesReturn).run(minutes(10));
    assert!(trial.width() < secs(2));
}
