//! What is fuzzed: every decoder of octets that others wrote. `cargo fuzz run TARGET` calls one of these,
//! and the tests of agent-core call all of them with the corpus.
#![allow(dead_code, reason = "each target uses one")]

use agent_core::ntp::{KeyAlgorithm, Packet, SymmetricKey, Trailer, fields};
use agent_core::nts::{AeadId, NtsKeys, ke};
use agent_core::spool::Frames;
use agent_core::{Action, AuthConfig, ClockReading, Engine, EngineConfig, SourceConfig, Stamp};
use timebase::{
    Discipliner, KernelClock, LeapTable, Raw, Seq, Span, StampKind, Timestamp, Utc, hashed_part,
};

/// An NTP header means the same after it was written again.
pub(crate) fn ntp_packet(bytes: &[u8]) {
    if let Ok(packet) = Packet::decode(bytes) {
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        assert!(packet.root_distance() >= Span::ZERO);
    }
}

/// Extension fields lie within the packet, in order, and a MAC is what is left.
pub(crate) fn nts_extension(bytes: &[u8]) {
    if let Ok(trailer) = Trailer::parse(bytes) {
        let mut at = 48;
        for field in &trailer.fields {
            assert_eq!(field.at, at);
            at += 4 + field.body.len();
        }
        assert_eq!(at + trailer.mac.map_or(0, <[u8]>::len), bytes.len());
    }
    let _ = fields(bytes);
}

/// A response of a key server is complete if it is of use.
pub(crate) fn nts_ke(bytes: &[u8]) {
    let complete = ke::is_complete(bytes);
    if let Ok(response) = ke::parse(bytes) {
        assert!(complete);
        let key = vec![1; response.key_length()];
        let _ = response.exporter_context(ke::Direction::ClientToServer);
        assert!(response.with_keys(key.clone(), key).is_ok());
    }
}

/// The frames of a spool segment lie within it, in order.
pub(crate) fn spool_frame(bytes: &[u8]) {
    let mut last = 0;
    for frame in Frames::new(bytes) {
        match frame {
            Ok((at, payload)) => {
                assert!(at >= last && at + payload.len() <= bytes.len());
                last = at + payload.len();
            }
            Err(error) => assert!(error.good_until() <= bytes.len()),
        }
    }
}

/// A table of leap seconds is in order, and says the same of UTC and of TAI.
pub(crate) fn leap_table(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = hashed_part(text);
    let Ok(table) = LeapTable::parse(text) else { return };
    let leaps: Vec<_> = table.leaps().collect();
    assert!(leaps.is_sorted_by(|a, b| a.at < b.at));
    for leap in &leaps {
        let before = leap.at - Span::SECOND;
        assert_eq!(table.next_after(before).map(|next| next.at), Some(leap.at));
        for utc in [before, leap.at, leap.at + Span::SECOND] {
            let Some(offset) = table.tai_offset(utc) else { continue };
            let tai = utc + Span::from_secs(i64::from(offset));
            // A second that is taken out has no TAI of its own.
            if leap.insert && Timestamp::<Utc>::from_ns(i64::MAX) > tai {
                assert_eq!(table.utc_at_tai(tai.as_ns()), Some(utc));
            }
        }
    }
    for tai in [i64::MIN, 0, i64::MAX] {
        let _ = table.utc_at_tai(tai);
    }
}

/// Nothing that comes from the network stops the engine. The first octet chooses how the source is
/// authenticated and whether the fields of the header that answer a request are made right.
pub(crate) fn engine_datagram(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let mut now = Timestamp::<Raw>::from_ns(1_000_000_000);
    let mut engine = Engine::new(EngineConfig::default(), [7; 32], reading(now));
    let auth = match choice % 3 {
        0 => AuthConfig::None,
        1 => {
            let key = SymmetricKey::new(1, KeyAlgorithm::Aes128, vec![1; 16]);
            AuthConfig::Key(key.expect("a key"))
        }
        _ => AuthConfig::Nts,
    };
    let config = SourceConfig { auth, min_poll_log2: -4, ..SourceConfig::default() };
    let source = engine.add_source(now, config);
    engine.handle_resolved(now, source, "192.0.2.1:123".into());
    for answer in bytes.chunks(200) {
        for _ in 0..8 {
            match engine.poll_action() {
                Some(Action::Send { token, packet, .. }) => {
                    engine.handle_sent(token, Stamp::exact(now, StampKind::Kernel));
                    now = now + Span::MILLISECOND;
                    let answer = fitted(answer, &packet, choice & 0x80 != 0);
                    let received = Stamp::exact(now, StampKind::Kernel);
                    let _ = engine.handle_datagram(now, source, &answer, received);
                }
                Some(Action::ExchangeKeys { source }) => engine.handle_keys(now, source, keys()),
                Some(_) => {}
                None => {
                    now = engine.next_timeout().map_or(now, |next| next.max(now));
                    engine.handle_timeout(now);
                }
            }
        }
    }
    engine.report(reading(now), Seq(1), KernelClock::default(), Discipliner::None);
}

fn reading(now: Timestamp<Raw>) -> ClockReading {
    let realtime = Timestamp::from_ns(now.as_ns() + 1_795_305_600_000_000_000);
    ClockReading { raw: now, realtime, uncertainty: Span::ZERO }
}

fn keys() -> NtsKeys {
    let (c2s, s2c) = (vec![1; 32], vec![2; 32]);
    let cookies = vec![vec![3; 100]; 8];
    NtsKeys { aead: AeadId::AesSivCmac256, c2s, s2c, cookies, server: None, port: None }
}

/// With the version and mode of an answer, and the request's number as its origin.
fn fitted(answer: &[u8], request: &[u8], fit: bool) -> Vec<u8> {
    let mut answer = answer.to_vec();
    if fit && answer.len() >= 48 && request.len() >= 48 {
        answer[0] = answer[0] & 0xc0 | 4 << 3 | 4;
        let interleaved = answer[2] & 1 == 1;
        answer[24..32].copy_from_slice(&request[if interleaved { 32..40 } else { 40..48 }]);
    }
    answer
}
