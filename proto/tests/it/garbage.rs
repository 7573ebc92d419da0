//! Whatever arrives is a message, a refusal or a decoding error: never a panic.

use fleet_proto::convert::{MAX_EVENTS, MAX_SOURCES, Refusal};
use fleet_proto::lazy::LazyReport;
use fleet_proto::pb;
use proptest::prelude::*;
use prost::Message;
use timebase::Report;

use crate::example;

fn refusal(change: impl FnOnce(&mut pb::Report)) -> Refusal {
    let mut wire = pb::Report::from(&example::report());
    change(&mut wire);
    Report::try_from(wire).expect_err("accepted what the vocabulary cannot hold")
}

/// Each field that the vocabulary cannot hold is refused by name.
#[test]
fn impossible_fields_are_refused_by_name() {
    let empty = pb::Bounds { lo_ns: 2, hi_ns: 1 };
    assert_eq!(refusal(|r| r.bounds = Some(empty)), Refusal::EmptyInterval("bounds"));
    let endless = pb::Bounds { lo_ns: i64::MIN, hi_ns: i64::MAX };
    assert_eq!(refusal(|r| r.bounds = Some(endless)), Refusal::Range("bounds"));
    assert_eq!(refusal(|r| r.sources[0].bounds = Some(endless)), Refusal::Range("source bounds"));
    assert_eq!(refusal(|r| r.seq = u64::MAX), Refusal::Range("seq"));
    assert_eq!(refusal(|r| r.state = 0), Refusal::UnknownWord("state"));
    assert_eq!(refusal(|r| r.state = 99), Refusal::UnknownWord("state"));
    assert_eq!(refusal(|r| r.drift_limit_ppb = -1), Refusal::Range("drift limit"));
    assert_eq!(refusal(|r| r.drift_ceiling_ppb = Some(-1)), Refusal::Range("drift ceiling"));
    assert_eq!(refusal(|r| r.stray_ns = Some(-1)), Refusal::Range("stray"));
    let inverted = pb::RateBounds { lo_ppb: 2, hi_ppb: 1 };
    assert_eq!(refusal(|r| r.rate = Some(inverted)), Refusal::Range("rate"));
    assert_eq!(refusal(|r| r.sources[0].kind = "x".into()), Refusal::UnknownWord("source kind"));
    assert_eq!(refusal(|r| r.smear = "x".into()), Refusal::UnknownWord("smear"));
    assert_eq!(refusal(|r| r.sources[0].verdict = "x".into()), Refusal::UnknownWord("verdict"));
    assert_eq!(refusal(|r| r.sources[0].name = "\u{1b}[2J".into()), Refusal::Range("source name"));
    assert_eq!(refusal(|r| r.sources[0].detail = None), Refusal::Missing("source detail"));
    assert_eq!(refusal(|r| r.events[0].kind = None), Refusal::Missing("event kind"));
    assert_eq!(
        refusal(|r| r.statistical.as_mut().unwrap().k = f64::NAN),
        Refusal::Range("k of the statistical window")
    );
    assert_eq!(
        refusal(|r| r.sources = vec![r.sources[0].clone(); MAX_SOURCES + 1]),
        Refusal::TooMany("sources", MAX_SOURCES)
    );
    assert_eq!(
        refusal(|r| r.events = vec![r.events[0].clone(); MAX_EVENTS + 1]),
        Refusal::TooMany("events", MAX_EVENTS)
    );
}

/// What is put off is the same once it is read, and re-encodes as it was.
#[test]
fn sources_read_later_are_the_same() {
    let whole = example::report();
    let octets = pb::Report::from(&whole).encode_to_vec();
    let lazy = LazyReport::decode(&octets[..]).unwrap();
    assert!(lazy.report.sources.is_empty());
    assert_eq!(lazy.encoded_len(), octets.len());
    assert_eq!(
        pb::Report::decode(&lazy.encode_to_vec()[..]),
        pb::Report::decode(&octets[..]),
        "fields may come in another order"
    );
    let (mut head, used, sources) = lazy.head().unwrap();
    assert_eq!(used, whole.sources.iter().filter(|s| s.verdict.takes_part()).count());
    head.sources = sources.decode().unwrap();
    assert_eq!(head, whole);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x7c),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Mutated bytes of a real report never panic, and are the same read at once or in two steps.
    #[test]
    fn mutated_bytes_never_panic(at in 0usize..600, byte: u8, cut in 0usize..600) {
        let mut bytes = pb::Report::from(&example::report()).encode_to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut % 64));
        let lazy = LazyReport::decode(bytes.as_slice());
        let lazy = lazy.ok().and_then(|lazy| lazy.head().ok());
        let lazy = lazy.and_then(|(head, _, sources)| Some(Report { sources: sources.decode().ok()?, ..head }));
        let whole = pb::Report::decode(bytes.as_slice());
        let whole = whole.ok().and_then(|wire| Report::try_from(wire).ok());
        prop_assert_eq!(lazy, whole);
    }
}
