//! `fixtures/<version>/*.bin` are messages as that release wrote them. They are never regenerated.

use std::path::Path;

use fleet_proto::pb;
use prost::Message;
use timebase::{HostId, Report, WitnessStamps};

use crate::example;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A batch written by release 0.1 decodes to the report it was made from.
#[test]
fn batch_of_0_1_still_means_the_same() {
    means("v1", &example::report_of_0_1());
}

/// So does one with rate interval, smears, kinds of sources and proofs about their paths.
#[test]
fn batch_of_0_2_still_means_the_same() {
    means("v2", &example::report_of_0_2());
}

/// So does one that says how straight the system clock ran.
#[test]
fn batch_of_0_3_still_means_the_same() {
    means("v3", &example::report());
}

fn means(version: &str, expected: &Report) {
    let bytes = fixture(&format!("{version}/batch.bin"));
    let message = pb::AgentMessage::decode(bytes.as_slice()).unwrap();
    let Some(pb::agent_message::Message::Batch(batch)) = message.message else {
        panic!("not a batch: {message:?}");
    };
    assert_eq!((batch.batch, batch.sent_realtime_ns, batch.sent_raw_ns), (7, 11, Some(12)));
    assert_eq!(batch.boot_id, [0xb0; 16]);
    let witness = WitnessStamps::from(batch.witness.unwrap());
    assert_eq!((witness.t1.as_ns(), witness.t2.as_ns()), (1, 2));
    assert_eq!((witness.t3.as_ns(), witness.t4.as_ns()), (3, 4));
    let [report] = <[pb::Report; 1]>::try_from(batch.reports).unwrap();
    assert_eq!(Report::try_from(report).unwrap(), *expected);
}

/// A hello written by any release still names the host.
#[test]
fn hello_still_means_the_same() {
    for version in ["v1", "v2", "v3"] {
        names_the_host(&fixture(&format!("{version}/hello.bin")));
    }
}

fn names_the_host(bytes: &[u8]) {
    let message = pb::AgentMessage::decode(bytes).unwrap();
    let Some(pb::agent_message::Message::Hello(hello)) = message.message else {
        panic!("not a hello: {message:?}");
    };
    let id = fleet_proto::convert::id16(&hello.host_id, "host id").unwrap();
    assert_eq!(HostId::from_bytes(id).to_string(), "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a");
    let host = hello.host.unwrap();
    assert_eq!((host.name.as_str(), host.service.as_str()), ("ctl-3", "keystone"));
    assert_eq!(host.labels["rack"], "r7");
    assert!(host.simulated);
}

/// What this version writes, this version reads back unchanged; a field that a later version adds is
/// passed over, so that old collectors take reports of new agents.
#[test]
fn reports_round_trip_and_unknown_fields_are_passed_over() {
    let mut bytes = pb::Report::from(&example::report()).encode_to_vec();
    bytes.extend([0xfa, 0x3f, 3, b'n', b'e', b'w']); // field 1023, length-delimited
    let decoded = pb::Report::decode(bytes.as_slice()).unwrap();
    assert_eq!(Report::try_from(decoded).unwrap(), example::report());
}
