//! Somebody on the way answers in the server's place, 5 s wrong.
//!
//! Failure: without keys, a forged answer is as good as any.
//!
//! Cure: with a shared key it is refused and counted, and what the real server said stays true.

use agent_core::AuthConfig;
use agent_core::ntp::{KeyAlgorithm, SymmetricKey};
use agent_sim::{Auth, Lie, Trial};
use timebase::SyncState;

use crate::support::{good, minutes, ms, secs, world};

#[test]
fn gets_nowhere_without_the_key() {
    let mut plain = Trial::unguarded(world(good(1)));
    plain.link(0).server.lie = Lie::Offset(secs(5));
    assert!(plain.run(minutes(5)).is_wrong());

    let key = SymmetricKey::new(7, KeyAlgorithm::Aes128, vec![3; 16]).unwrap();
    let other = SymmetricKey::new(7, KeyAlgorithm::Aes128, vec![4; 16]).unwrap();
    let mut links = good(1);
    links[0].auth = AuthConfig::Key(key.clone());
    links[0].server.auth = Auth::Key(key.clone());
    let mut trial = Trial::honest(world(links));
    trial.run(minutes(30));
    assert_eq!(trial.state(), SyncState::Synchronised);
    for forged in [Auth::None, Auth::Key(other)] {
        trial.link(0).server.lie = Lie::Offset(secs(5));
        trial.link(0).server.auth = forged;
        trial.run(minutes(20));
        assert!(trial.window().is_some(), "from before");
        assert_ne!(trial.state(), SyncState::Synchronised);
        trial.link(0).server.lie = Lie::None;
        trial.link(0).server.auth = Auth::Key(key.clone());
        trial.run(minutes(20));
        assert_eq!(trial.state(), SyncState::Synchronised);
    }
    assert!(trial.width() < ms(5), "{}", trial.width());
}
