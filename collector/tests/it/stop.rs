use fleet_proto::pb::collector_message::Message as ToAgent;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::Code;

use crate::support::{Agent, World, report};

/// Proves that a graceful stop acknowledges what it took, and that every acknowledged report is in the
/// database after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn graceful_stop_answers_what_it_took() {
    // So long a linger that the batches are under way when the stop comes.
    let mut world = World::start_with("[ingest]\nlinger = \"400 ms\"\n").await;
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    for seq in 1..=3 {
        session.send(vec![report(seq)]).await;
    }
    let metrics = format!("http://{}/metrics", world.app().observe_address());
    crate::support::eventually("the batches are read", async || {
        let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        text.contains("truechimer_ingest_batches_total 3").then_some(())
    })
    .await;
    let answers = async {
        let mut acknowledged = Vec::new();
        loop {
            match session.receive().await {
                Ok(Some(ToAgent::Ack(ack))) => acknowledged.push(ack.batch),
                Ok(None) => break,
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        acknowledged
    };
    let ((), acknowledged) = tokio::join!(world.stop(), answers);
    assert_eq!(acknowledged, [1, 2, 3]);
    world.restart_with("").await;
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, 3);
    let session = agent.moved_to(&world).session().await;
    assert_eq!(session.last_seq, Some(3));
    world.stop().await;
}

/// Proves that SIGTERM ends the real binary cleanly, its database included.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_binary() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = crate::cluster::Served::start(dir.path()).await;
    let postmaster = served.postmaster();
    kill(Pid::from_raw(served.pid()), Signal::SIGTERM).unwrap();
    assert!(served.child.wait().await.unwrap().success());
    assert!(!std::fs::exists(format!("/proc/{postmaster}/cwd")).unwrap(), "postgres still runs");
}
