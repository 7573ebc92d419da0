//! Network Time Security (RFC 8915) of packets, against a server written from the RFC.

use std::collections::BTreeSet;

use agent_core::ntp::Kiss;
use agent_core::nts::NtsFailure;
use agent_core::{Action, AuthConfig, Refused, SourceConfig};
use timebase::{Authentication, Span, Timestamp, Unusable, Verdict};

use crate::peer::{C2S, COOKIE, Peer, Rig, S2C};

fn config() -> SourceConfig {
    SourceConfig { auth: AuthConfig::Nts, ..SourceConfig::default() }
}

fn rig() -> Rig {
    Rig::new(Peer::nts(), config())
}

fn shown(rig: &Rig) -> &[u8] {
    &rig.peer.nts.as_ref().expect("NTS").shown
}

/// Proves that keys come first, that every cookie is shown once, and that NTS and the interleaved mode
/// go together. The server checks every seal.
#[test]
fn polls_are_sealed_and_interleaved() {
    let mut rig = rig();
    for poll in 0..30 {
        assert_eq!(rig.exchange(), Ok(()), "{poll}");
        assert_eq!(rig.source().interleaved, poll > 0);
    }
    assert_eq!((rig.exchanges, shown(&rig).len()), (1, 30));
    assert_eq!(shown(&rig).iter().collect::<BTreeSet<_>>().len(), 30);
    assert_eq!(rig.source().authentication, Authentication::Nts);
}

/// Proves that lost cookies are asked for again, that a request stays small enough for any network, and
/// that running out of cookies brings new keys.
#[test]
fn lost_cookies_are_replaced() {
    let mut rig = rig();
    assert_eq!(rig.exchange(), Ok(()));
    let plain = rig.request();
    let length = plain.packet.len();
    rig.engine.handle_send_failed(Timestamp::from_ns(rig.now.as_ns()), plain.token);
    for lost in 1..6 {
        let request = rig.request();
        assert_eq!(request.packet.len(), length + lost * (COOKIE + 4));
        rig.sent(request.token);
    }
    assert_eq!(rig.exchange(), Ok(()));
    assert_eq!(rig.request().packet.len(), length, "all eight are there again");
    assert_eq!(rig.exchanges, 1);
    for _ in 0..8 {
        rig.lose();
    }
    assert_eq!(rig.exchange(), Ok(()));
    assert_eq!(rig.exchanges, 2);
    assert_eq!(shown(&rig).iter().collect::<BTreeSet<_>>().len(), shown(&rig).len());
}

/// Proves each refusal, and that none keeps the right answer from being taken.
#[test]
fn answers_that_prove_nothing_are_refused() {
    let mut rig = rig();
    for _ in 0..3 {
        let answer = rig.ask();
        let spoilt = |at: usize| {
            let mut spoilt = answer.clone();
            spoilt[at] ^= 1;
            spoilt
        };
        assert_eq!(rig.deliver(&answer[..48]), Err(Refused::UniqueId));
        assert_eq!(rig.deliver(&answer[..84]), Err(Refused::Authentication));
        assert_eq!(rig.deliver(&spoilt(60)), Err(Refused::UniqueId));
        for at in [1, 40, 47, answer.len() - 1, 100] {
            assert_eq!(rig.deliver(&spoilt(at)), Err(Refused::Authentication), "{at}");
        }
        assert_eq!(rig.deliver(&spoilt(51)), Err(Refused::Extension));
        let mut deny = answer[..84].to_vec();
        deny[1] = 0;
        deny[12..16].copy_from_slice(b"DENY");
        assert_eq!(rig.deliver(&deny), Err(Refused::Authentication));
        assert_eq!(rig.deliver(&answer), Ok(()));
    }
    assert_eq!((rig.source().accepted, rig.exchanges), (3, 1));
}

/// Proves that NTSN brings new keys when nothing better came, and that a forged one does nothing.
#[test]
fn a_server_that_lost_its_key_is_asked_for_new_cookies() {
    let mut rig = rig();
    assert_eq!(rig.exchange(), Ok(()));
    let answer = rig.ask();
    let mut forged = answer[..84].to_vec();
    forged[1] = 0;
    forged[12..16].copy_from_slice(b"NTSN");
    assert_eq!(rig.deliver(&forged), Err(Refused::Kiss(Kiss::NtsNak)));
    assert_eq!(rig.deliver(&answer), Ok(()));
    assert_eq!(rig.exchange(), Ok(()));
    assert_eq!(rig.exchanges, 1);
    rig.peer.nts.as_mut().unwrap().forgetful = true;
    assert_eq!(rig.exchange(), Err(Refused::Kiss(Kiss::NtsNak)));
    assert_eq!(rig.exchange(), Ok(()));
    assert_eq!(rig.exchanges, 2);
}

/// Proves that keys are renewed by age.
#[test]
fn old_keys_are_renewed() {
    let mut rig = rig();
    assert_eq!(rig.exchange(), Ok(()));
    rig.now = rig.now + Span::from_secs(8 * 86_400);
    assert_eq!(rig.exchange(), Ok(()));
    assert_eq!(rig.exchanges, 2);
}

/// Proves that a key server which fails is asked ever more rarely, that the reason is shown, and that
/// keys are used once it gives some.
#[test]
fn failed_exchanges_of_keys_are_tried_ever_more_rarely() {
    let mut rig = Rig::new(Peer::interleaving(), config());
    let mut before = rig.now;
    for attempt in 0..12 {
        assert!(matches!(rig.next(), Action::ExchangeKeys { .. }));
        let waited = rig.now - before;
        let least = if attempt == 0 { 0 } else { 10 << (attempt - 1) };
        assert!(waited >= Span::from_secs(least), "{attempt}: {waited}");
        before = rig.now;
        let now = Timestamp::from_ns(rig.now.as_ns());
        rig.engine.handle_keys_failed(now, rig.source, NtsFailure::Tls);
        assert_eq!(rig.source().verdict, Verdict::Unusable(Unusable::Authentication));
    }
    rig.peer = Peer::nts();
    assert_eq!(rig.exchange(), Ok(()));
    assert_eq!(rig.source().verdict, Verdict::Selected);
}

/// Proves that neither keys nor cookies are in what is logged.
#[test]
fn secrets_are_not_shown() {
    let mut rig = rig();
    assert_eq!(rig.exchange(), Ok(()));
    let keys = rig.peer.nts.as_mut().unwrap().keys();
    let text = format!("{:?} {keys:?}", rig.engine);
    for secret in [&C2S[..4], &S2C[..4], &[2; 4], &[10; 4]] {
        let shown = format!("{secret:?}");
        assert!(!text.contains(shown.trim_matches(['[', ']'])), "{shown}");
    }
}
