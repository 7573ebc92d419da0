use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as FromAgent;
use tonic::Code;

use crate::support::{Agent, Session, World, eventually, hello_message, message, report};

/// One that behaves, beside every hostile client: it must go on undisturbed.
struct Good {
    session: Session,
    seq: u64,
}

impl Good {
    async fn start(world: &World) -> Self {
        Self { session: Agent::enrol(world, "good").await.session().await, seq: 0 }
    }

    async fn goes_on(&mut self) {
        self.seq += 1;
        self.session.send(vec![report(self.seq)]).await;
        assert_eq!(self.session.ack().await.seq, self.seq);
    }
}

async fn counted(world: &World, name: &str, reason: &str) {
    eventually(&format!("a refusal of {name} for {reason} in the table"), async || {
        (world.refusals(name, reason).await > 0).then_some(())
    })
    .await;
    let metrics = metrics(world).await;
    let line = format!("truechimer_ingest_refusals_total{{reason=\"{reason}\"}}");
    let value = metrics.lines().find_map(|l| l.strip_prefix(&line)).map(str::trim);
    assert!(value.is_some_and(|v| v != "0"), "{reason} is not counted in:\n{metrics}");
}

async fn metrics(world: &World) -> String {
    let url = format!("http://{}/metrics", world.app().observe_address());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// Proves that a valid credential does not speak for another host.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_host() {
    let mut world = World::start().await;
    let mut good = Good::start(&world).await;
    let (agent, other) = (Agent::enrol(&world, "bad").await, Agent::enrol(&world, "other").await);
    let hello = pb::Hello { host_id: other.host.as_bytes().to_vec(), ..agent.hello() };
    let refused = agent.session_saying(hello_message(hello)).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::PermissionDenied));
    counted(&world, "bad", "wrong-host").await;
    good.goes_on().await;
    world.stop().await;
}

/// Proves that reports from the future and malformed ones are refused alone, told with their seq, and
/// that the sound ones between them are stored.
#[tokio::test(flavor = "multi_thread")]
async fn bad_reports_are_refused_alone() {
    let mut world = World::start().await;
    let mut good = Good::start(&world).await;
    let mut session = Agent::enrol(&world, "bad").await.session().await;
    let future = pb::Report { raw_ns: i64::MAX, ..report(2) };
    let empty = pb::Report { bounds: Some(pb::Bounds { lo_ns: 5, hi_ns: 4 }), ..report(3) };
    let absurd = pb::Report { raw_ns: i64::MIN, realtime_ns: i64::MAX, ..report(4) };
    session.send(vec![report(1), future, empty, absurd, report(4), report(5)]).await;
    let ack = session.ack().await;
    let refused: Vec<_> = ack.refused.iter().map(|r| (r.seq, r.reason.as_str())).collect();
    assert_eq!(refused, [(2, "from-the-future"), (3, "malformed"), (4, "out-of-order")]);
    let stored = "SELECT count(*) FROM fleet.samples WHERE host = 'bad'";
    assert_eq!(world.number(stored).await, 3);
    for reason in ["from-the-future", "malformed", "out-of-order"] {
        counted(&world, "bad", reason).await;
    }
    good.goes_on().await;
    world.stop().await;
}

/// Proves that reports are stored though the database refuses what is counted of others: were it put down to the
/// batches, each would be thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn counts_that_cannot_be_stored_harm_no_batch() {
    let mut world = World::start().await;
    let mut good = Good::start(&world).await;
    let mut session = Agent::enrol(&world, "bad").await.session().await;
    let refuse = "ALTER TABLE store.refusal ADD CHECK (reason <> 'malformed') NOT VALID";
    sqlx::query(refuse).execute(&world.sql().await).await.unwrap();
    let malformed = pb::Report { bounds: Some(pb::Bounds { lo_ns: 5, hi_ns: 4 }), ..report(2) };
    session.send(vec![report(1), malformed, report(3)]).await;
    let ack = session.ack().await;
    let refused: Vec<_> = ack.refused.iter().map(|r| (r.seq, r.reason.as_str())).collect();
    assert_eq!((ack.seq, refused), (3, vec![(2, "malformed")]));
    let stored = "SELECT count(*) FROM fleet.samples WHERE host = 'bad'";
    assert_eq!(world.number(stored).await, 2);
    good.goes_on().await;
    world.stop().await;
}

/// Proves that a batch with too many reports is refused for good, a message too large ends its session,
/// and both are counted.
#[tokio::test(flavor = "multi_thread")]
async fn huge_batches() {
    let mut world =
        World::start_with("[ingest]\nmax-batch = 50\nmax-message-bytes = 1048576\n").await;
    let mut good = Good::start(&world).await;
    let agent = Agent::enrol(&world, "bad").await;
    let mut session = agent.session().await;
    session.send((1..=51).map(report).collect()).await;
    let refusal = session.refusal().await;
    assert_eq!((refusal.reason.as_str(), refusal.retry), ("batch-too-large", false));
    let mut wide = report(1);
    wide.sources = vec![wide.sources[0].clone(); 40_000];
    session.send(vec![wide]).await;
    assert_eq!(session.end().await.unwrap_err().code(), Code::OutOfRange);
    eventually("both counted", async || {
        (world.refusals("bad", "batch-too-large").await == 2).then_some(())
    })
    .await;
    good.goes_on().await;
    world.stop().await;
}

/// Proves that a flood is put off in order: nothing stored passes a batch that was put off, and all of
/// it is stored in the end.
#[tokio::test(flavor = "multi_thread")]
async fn over_quota_is_put_off_in_order() {
    let mut world =
        World::start_with("[ingest]\nmax-batch = 10\nburst = 10\nreports-per-second = 40\n").await;
    let mut session = Agent::enrol(&world, "bad").await.session().await;
    let batch = |n: u64| (n * 10 + 1..=n * 10 + 10).map(report).collect::<Vec<_>>();
    session.send(batch(0)).await;
    session.send(batch(1)).await;
    session.send(batch(2)).await;
    assert_eq!(session.ack().await.seq, 10);
    for _ in 1..=2 {
        let refusal = session.refusal().await;
        assert_eq!((refusal.reason.as_str(), refusal.retry), ("over-quota", true));
    }
    for n in 1..=2 {
        eventually("the batch is taken", async || {
            session.send(batch(n)).await;
            match session.receive().await.unwrap() {
                Some(pb::collector_message::Message::Ack(ack)) => {
                    (ack.seq == n * 10 + 10).then_some(())
                }
                _ => None,
            }
        })
        .await;
    }
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, 30);
    counted(&world, "bad", "over-quota").await;
    world.stop().await;
}

/// Proves that garbage instead of messages ends only its own session.
#[tokio::test(flavor = "multi_thread")]
async fn garbage() {
    let mut world = World::start().await;
    let mut good = Good::start(&world).await;
    let agent = Agent::enrol(&world, "bad").await;
    let no_hello = agent.session_saying(message(FromAgent::Batch(pb::Batch::default()))).await;
    assert_eq!(no_hello.err().map(|status| status.code()), Some(Code::InvalidArgument));
    let mut twice = agent.session().await;
    twice.send_message(hello_message(agent.hello())).await;
    assert_eq!(twice.end().await.unwrap_err().code(), Code::InvalidArgument);
    let mut nothing = agent.session().await;
    nothing.send_message(pb::AgentMessage::default()).await;
    assert_eq!(nothing.end().await.unwrap_err().code(), Code::InvalidArgument);
    counted(&world, "bad", "protocol").await;

    let mut session = agent.session().await;
    let boot_id = vec![1, 2, 3];
    session.send_batch(pb::Batch { boot_id, ..pb::Batch::default() }).await;
    assert_eq!(session.refusal().await.reason, "malformed");
    let boot_id = agent.boot.as_bytes().to_vec();
    session.send_batch(pb::Batch { boot_id, ..pb::Batch::default() }).await;
    assert_eq!(session.refusal().await.reason, "bad-stamps");

    // Not even HTTP: 64 kB of noise on the port, and a client that opens and says nothing.
    let address = world.app().grpc_address().unwrap();
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut noise = tokio::net::TcpStream::connect(address).await.unwrap();
    let bytes: Vec<u8> =
        (0..65_536u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let _ = tokio::io::AsyncWriteExt::write_all(&mut noise, &bytes).await;
    good.goes_on().await;
    world.stop().await;
}

/// Proves that an agent which never reads its answers is cut off with a counted reason, while memory
/// and other hosts are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn slow_reader() {
    let quota = "burst = 4000000\nreports-per-second = 4000000\n";
    let mut world =
        World::start_with(&format!("[ingest]\nidle-timeout = \"1 s\"\nlinger = \"1 ms\"\n{quota}"))
            .await;
    let mut agent = Agent::enrol(&world, "bad").await;
    agent.window = Some(1_024);
    let mut session = agent.session().await;
    let flood = async {
        // Sends for as long as the collector reads, and reads nothing of what it answers.
        loop {
            if !session.try_send_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    };
    tokio::select! {
        () = flood => {}
        () = counted(&world, "bad", "slow-reader") => {}
    }
    Good::start(&world).await.goes_on().await;
    world.stop().await;
}
