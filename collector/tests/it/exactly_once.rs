use fleet_proto::pb;
use uuid::Uuid;

use crate::support::{Agent, World, report};

fn reports(seqs: std::ops::Range<u64>) -> Vec<pb::Report> {
    seqs.map(report).collect()
}

const SAMPLES: &str = "SELECT count(*) FROM store.sample";
const DISTINCT: &str = "SELECT count(DISTINCT (host_id, boot_no, seq)) FROM store.sample";

/// Proves that whatever is sent again, in one session or the next, is stored once and acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn sent_again_is_stored_once() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    assert_eq!(session.last_seq, None);
    session.send(reports(10..20)).await;
    assert_eq!(session.ack().await.seq, 19);
    session.send(reports(15..25)).await;
    assert_eq!(session.ack().await.seq, 24);
    drop(session);
    let mut session = agent.session().await;
    assert_eq!(session.last_seq, Some(24), "Welcome tells where to go on");
    session.send(reports(10..25)).await;
    let ack = session.ack().await;
    assert_eq!((ack.seq, ack.refused.len()), (24, 0));
    assert!(ack.t2_ns <= ack.t3_ns);
    assert_eq!(world.number(SAMPLES).await, 15);
    assert_eq!(world.number("SELECT boot_no::int8 FROM store.host_state").await, 1);
    assert_eq!(world.number("SELECT seq FROM store.host_state").await, 24);
    assert_eq!(world.number("SELECT count(*) FROM store.source_state").await, 1);
    world.stop().await;
}

/// Proves that two sessions of one host, both sending everything at once, store each report once.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_sessions_store_once() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let send_all = |agent: Agent| async move {
        let mut session = agent.session().await;
        for start in (1..=400).step_by(20) {
            session.send(reports(start..start + 20)).await;
            session.ack().await;
        }
    };
    tokio::join!(send_all(agent.clone()), send_all(agent.clone()));
    assert_eq!(world.number(SAMPLES).await, 400);
    assert_eq!(world.number(DISTINCT).await, 400);
    world.stop().await;
}

/// Proves that an older boot's spool is stored beside the running boot's, and leaves the host's newest
/// state alone.
#[tokio::test(flavor = "multi_thread")]
async fn older_boot_is_kept_apart() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    session.send(reports(5..6)).await;
    session.ack().await;
    let boot_id = Uuid::new_v4().as_bytes().to_vec();
    let old = pb::Batch { boot_id, reports: reports(100..103), ..pb::Batch::default() };
    session.send_batch(old).await;
    assert_eq!(session.ack().await.seq, 102);
    assert_eq!(world.number(SAMPLES).await, 4);
    assert_eq!(world.number("SELECT seq FROM store.host_state").await, 5);
    world.stop().await;
}

/// Proves that the exchange carried by batch and answer bounds the host's clock against the collector's.
#[tokio::test(flavor = "multi_thread")]
async fn witness_is_kept() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    session.send(reports(1..2)).await;
    let ack = session.ack().await;
    // A host 700 ms ahead, on this machine's clock.
    let ahead = 700_000_000;
    let witness = pb::Witness {
        t1_realtime_ns: ack.t2_ns - 40_000 + ahead,
        t2_ns: ack.t2_ns,
        t3_ns: ack.t3_ns,
        t4_realtime_ns: ack.t3_ns + 60_000 + ahead,
    };
    let batch = pb::Batch {
        boot_id: agent.boot.as_bytes().to_vec(),
        reports: reports(2..3),
        sent_raw_ns: Some(2_000_000_000_000),
        witness: Some(witness),
        ..pb::Batch::default()
    };
    session.send_batch(batch).await;
    session.ack().await;
    let lo = world.number("SELECT witness_lo_ns FROM store.host_state").await;
    let hi = world.number("SELECT witness_hi_ns FROM store.host_state").await;
    assert!(lo <= ahead && ahead <= hi && hi - lo < 2_000_000, "[{lo}, {hi}]");
    world.stop().await;
}
