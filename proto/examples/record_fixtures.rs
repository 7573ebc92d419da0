//! Writes the fixtures of a new release: `cargo run -p fleet-proto --example record_fixtures -- fixtures/v2`.
//! Refuses to touch a folder that exists: what a release wrote is never written again.

use std::path::PathBuf;

use fleet_proto::pb;
use pb::agent_message::Message::{Batch, Hello};
use prost::Message as _;

#[path = "../tests/it/example.rs"]
mod example;

fn main() -> std::io::Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).expect("usage: record_fixtures FOLDER").into();
    std::fs::create_dir(&folder)?;
    let hello = pb::Hello {
        host_id: vec![0x0a; 16],
        boot_id: vec![0xb0; 16],
        host: Some(pb::HostInfo {
            name: "ctl-3".into(),
            service: "keystone".into(),
            labels: [("rack".to_owned(), "r7".to_owned())].into(),
            agent_version: "0.1.0".into(),
            simulated: true,
        }),
    };
    let batch = pb::Batch {
        batch: 7,
        boot_id: vec![0xb0; 16],
        reports: vec![pb::Report::from(&example::report())],
        sent_realtime_ns: 11,
        sent_raw_ns: Some(12),
        running_raw_ns: None,
        witness: Some(pb::Witness { t1_realtime_ns: 1, t2_ns: 2, t3_ns: 3, t4_realtime_ns: 4 }),
    };
    for (name, message) in [("hello.bin", Hello(hello)), ("batch.bin", Batch(batch))] {
        let bytes = pb::AgentMessage { message: Some(message) }.encode_to_vec();
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
