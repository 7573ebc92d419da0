//! An NTS server changes the key of its cookies every half hour, and the network is gone for three.
//!
//! Failure: every cookie in store is refused with NTSN; a client that does not begin anew never
//! gets another answer.
//!
//! Cure: keys are exchanged again, and the host is synchronised within minutes.

use agent_core::AuthConfig;
use agent_sim::{Auth, Fault, Trial};
use timebase::{Authentication, SyncState};

use crate::support::{good, hours, minutes, ms, world};

#[test]
fn are_replaced_by_a_new_exchange_of_keys() {
    let mut links = good(2);
    for link in &mut links {
        link.auth = AuthConfig::Nts;
        link.server.auth = Auth::Nts(minutes(30));
        link.path.loss = 0.1;
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(2));
    assert_eq!(trial.state(), SyncState::Synchronised);
    assert_eq!(trial.look_now().report.sources[0].authentication, Authentication::Nts);
    trial.inflict(Fault::SourcesDie).run(hours(3));
    assert_eq!(trial.state(), SyncState::Holdover);
    trial.inflict(Fault::SourcesReturn);
    let found = trial.until(minutes(20), |report| report.state == SyncState::Synchronised);
    assert!(found.is_some());
    trial.run(minutes(30));
    assert!(trial.width() < ms(5), "{}", trial.width());
}
