//! Shared keys (RFC 5905, RFC 8573).

use agent_core::ntp::{KeyAlgorithm, SymmetricKey};
use agent_core::{AuthConfig, Refused, SourceConfig};
use sha1::{Digest, Sha1};
use timebase::{Authentication, Unusable, Verdict};

use crate::peer::{FLIGHT, Peer, Rig};

const SECRET: &[u8] = b"tick tock";

fn rig() -> Rig {
    let key = SymmetricKey::new(7, KeyAlgorithm::Sha1, SECRET.to_vec()).expect("a key");
    let config = SourceConfig { auth: AuthConfig::Key(key), ..SourceConfig::default() };
    Rig::new(Peer::interleaving(), config)
}

fn sign(packet: &mut Vec<u8>, id: u32, secret: &[u8]) {
    let digest = Sha1::new().chain_update(secret).chain_update(&packet[..48]).finalize();
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&digest);
}

/// Proves that requests carry the key's MAC, and that answers with it are taken, interleaved ones too.
#[test]
fn both_sides_sign() {
    let mut rig = rig();
    for poll in 0..5 {
        let request = rig.request();
        let mut expected = request.packet[..48].to_vec();
        sign(&mut expected, 7, SECRET);
        assert_eq!(request.packet, expected);
        rig.sent(request.token);
        let mut answer = rig.peer.answer(&request.packet, rig.now + FLIGHT);
        sign(&mut answer, 7, SECRET);
        rig.now = rig.now + FLIGHT + FLIGHT + FLIGHT;
        assert_eq!(rig.deliver(&answer), Ok(()));
        assert_eq!(rig.source().interleaved, poll > 0);
    }
    let source = rig.source();
    assert_eq!((source.authentication, source.accepted), (Authentication::Mac, 5));
}

/// Proves each refusal, that the right answer is still taken after all of them, and that a kiss without
/// a MAC is not obeyed.
#[test]
fn answers_that_prove_nothing_are_refused() {
    let mut rig = rig();
    for _ in 0..3 {
        let bare = rig.ask();
        let with = |id, secret: &[u8]| {
            let mut answer = bare.clone();
            sign(&mut answer, id, secret);
            answer
        };
        let mut nak = bare.clone();
        nak.extend_from_slice(&[0; 4]);
        let mut odd = bare.clone();
        odd.extend_from_slice(&[1; 9]);
        let mut deny = bare.clone();
        deny[1] = 0;
        deny[12..16].copy_from_slice(b"DENY");
        assert_eq!(rig.deliver(&bare), Err(Refused::Authentication));
        assert_eq!(rig.deliver(&deny), Err(Refused::Authentication));
        assert_eq!(rig.deliver(&nak), Err(Refused::CryptoNak));
        assert_eq!(rig.deliver(&odd), Err(Refused::Extension));
        assert_eq!(rig.deliver(&with(8, SECRET)), Err(Refused::KeyId));
        assert_eq!(rig.deliver(&with(7, b"guess")), Err(Refused::Authentication));
        assert_eq!(rig.deliver(&with(7, SECRET)), Ok(()));
    }
    let source = rig.source();
    assert_eq!((source.verdict, source.accepted, source.refused), (Verdict::Selected, 3, 18));
}

/// Proves that a server whose answers prove nothing is named as that, and cured by one that does.
#[test]
fn a_server_without_the_key_is_named() {
    let mut rig = rig();
    for _ in 0..4 {
        assert_eq!(rig.exchange(), Err(Refused::Authentication));
    }
    rig.request();
    assert_eq!(rig.source().verdict, Verdict::Unusable(Unusable::Authentication));
    assert_eq!(rig.report().bounds, None);
    rig.now = rig.now + timebase::Span::SECOND;
    let mut answer = rig.ask();
    sign(&mut answer, 7, SECRET);
    assert_eq!(rig.deliver(&answer), Ok(()));
    assert_eq!(rig.source().verdict, Verdict::Selected);
}
