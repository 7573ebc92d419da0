//! The uplink against a collector that breaks, refuses and comes back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::spool::{Sequence, Spool};
use agent::uplink::{
    Burst, MemoryCredentials, Reporter, Secret, Uplink, UplinkMetrics, UplinkState,
    collector_endpoint,
};
use fleet_proto::pb;
use timebase::{BootId, HostId, Span, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Identity};

use crate::collector::{Collector, Fault, JOIN_TOKEN};
use crate::support::{Folder, eventually};

const HOST: HostId = HostId::from_bytes([1; 16]);
const OLD_BOOT: BootId = BootId::from_bytes([2; 16]);
const BOOT: BootId = BootId::from_bytes([3; 16]);

struct Running {
    spool: Arc<Mutex<Spool>>,
    grown: Arc<Notify>,
    state: watch::Receiver<UplinkState>,
    metrics: UplinkMetrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn append(&self, numbers: impl IntoIterator<Item = u64>) {
        self.spool.lock().unwrap().append(numbers.into_iter().map(report));
        self.grown.notify_one();
    }

    async fn emptied(&self) {
        eventually("the spool is empty", || {
            (self.spool.lock().unwrap().pending() == 0).then_some(())
        })
        .await;
    }

    async fn finish(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn report(seq: u64) -> pb::Report {
    pb::Report { seq, ..pb::Report::default() }
}

fn spool(folder: &Folder, boot: BootId) -> Spool {
    let sequence = Sequence::starting_at(Span::SECOND);
    Spool::open(&folder.path().join("spool"), 1 << 20, boot, sequence).unwrap()
}

fn start(collector: &Collector, folder: &Folder, credentials: MemoryCredentials) -> Running {
    let endpoint = collector_endpoint(&collector.url(), None, false).unwrap();
    start_over(endpoint, folder, credentials)
}

fn start_over(endpoint: Endpoint, folder: &Folder, credentials: MemoryCredentials) -> Running {
    start_with(endpoint, None, folder, credentials)
}

/// An uplink whose clocks count up by one at every reading.
fn start_with(
    endpoint: Endpoint,
    burst: Option<Duration>,
    folder: &Folder,
    credentials: MemoryCredentials,
) -> Running {
    let (state, shown) = watch::channel(UplinkState::Down("not yet tried".to_owned()));
    let spool = Arc::new(Mutex::new(spool(folder, BOOT)));
    let (grown, metrics) = (Arc::new(Notify::new()), UplinkMetrics::default());
    let ticks = AtomicI64::new(1_000);
    let uplink = Uplink {
        reporter: Reporter {
            host: HOST,
            boot: BOOT,
            info: pb::HostInfo { name: "tested".to_owned(), ..pb::HostInfo::default() },
        },
        channel: endpoint.connect_lazy(),
        backlog: Arc::clone(&spool),
        grown: Arc::clone(&grown),
        credentials,
        clocks: Arc::new(move || {
            let tick = ticks.fetch_add(1, Ordering::Relaxed);
            (Timestamp::from_ns(tick), Timestamp::from_ns(-tick))
        }),
        metrics: metrics.clone(),
        state,
    };
    let stop = CancellationToken::new();
    let drain = Duration::from_secs(2);
    let task = match burst.map(|every| Burst { endpoint, every }) {
        None => tokio::spawn(uplink.run(stop.clone(), drain)),
        Some(burst) => tokio::spawn(uplink.run_in_bursts(burst, stop.clone(), drain)),
    };
    Running { spool, grown, state: shown, metrics, stop, task }
}

fn joining() -> MemoryCredentials {
    MemoryCredentials { credential: None, join_token: Some(Secret::new(JOIN_TOKEN)) }
}

/// Proves that reports arrive exactly once and in order although streams break before and after
/// storing, and batches are put off; and that nothing is left behind in the spool.
#[tokio::test]
async fn reports_arrive_exactly_once_over_broken_sessions() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    collector.seen().faults =
        [Fault::BreakAfter, Fault::BreakBefore, Fault::Busy, Fault::BreakAfter].into();
    let running = start(&collector, &folder, joining());
    running.append(1..=10);
    running.emptied().await;
    running.append(11..=12);
    running.emptied().await;
    assert_eq!(collector.seen().numbers(), (1..=12).collect::<Vec<_>>());
    assert_eq!(collector.seen().sessions, 4);
    assert_eq!(collector.seen().enrolled.len(), 1, "one enrolment serves all sessions");
    assert_eq!(*running.state.borrow(), UplinkState::Connected);
    running.finish().await;
}

/// Proves that what can never be stored is given up and counted, and the rest goes on.
#[tokio::test]
async fn refused_reports_are_dropped_and_counted() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    collector.seen().faults = [Fault::RefuseReport(3), Fault::RefuseBatch].into();
    let running = start(&collector, &folder, joining());
    running.append(1..=8);
    running.emptied().await;
    assert_eq!(collector.seen().numbers(), [1, 2, 7, 8]);
    assert_eq!(running.metrics.refused_reports.get(), 1 + 3);
    assert_eq!(running.metrics.refused_batches.get(), 1);
    assert_eq!(running.metrics.acknowledged.get(), 4);
    running.finish().await;
}

/// Proves that each batch carries its sending time, and the four stamps of the batch before it.
#[tokio::test]
async fn batches_carry_the_witness_of_the_one_before() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    let running = start(&collector, &folder, joining());
    running.append(1..=6);
    running.emptied().await;
    running.finish().await;
    let seen = collector.seen();
    let [first, second] = &seen.batches[..] else { panic!("{} batches", seen.batches.len()) };
    assert_eq!(first.witness, None);
    let t1 = first.sent_realtime_ns;
    assert_eq!(first.sent_raw_ns, Some(-t1));
    let expected = pb::Witness { t1_realtime_ns: t1, t2_ns: 20, t3_ns: 30, t4_realtime_ns: t1 + 1 };
    assert_eq!(second.witness, Some(expected));
}

/// Proves that reports of an earlier boot are sent first, under their own boot, without a raw time
/// that would mean nothing.
#[tokio::test]
async fn an_older_boot_is_reported_under_its_own_name() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    spool(&folder, OLD_BOOT).append([report(900)]);
    let running = start(&collector, &folder, joining());
    running.append([1]);
    running.emptied().await;
    running.finish().await;
    let seen = collector.seen();
    let sent: Vec<_> =
        seen.batches.iter().map(|b| (b.boot_id.clone(), b.sent_raw_ns.is_some())).collect();
    assert_eq!(sent, [(OLD_BOOT.as_bytes().to_vec(), false), (BOOT.as_bytes().to_vec(), true)]);
    // The raw clock of this boot says how long ago the other one ended at the latest.
    let running: Vec<_> = seen.batches.iter().map(|b| b.running_raw_ns).collect();
    assert_eq!(running, [Some(-seen.batches[0].sent_realtime_ns), None]);
}

/// Proves that a host that may not come in says so, keeps its reports, and does not knock again at
/// once.
#[tokio::test]
async fn a_denied_host_keeps_its_reports() {
    for credentials in [
        MemoryCredentials { credential: None, join_token: Some(Secret::new("tcj_wrong")) },
        MemoryCredentials { credential: Some(Secret::new("tch_old")), join_token: None },
        MemoryCredentials::default(),
    ] {
        let (collector, folder) = (Collector::start().await, Folder::new());
        let running = start(&collector, &folder, credentials);
        running.append(1..=2);
        let mut state = running.state.clone();
        let denied = state.wait_for(|state| matches!(state, UplinkState::Denied(_)));
        let denied = tokio::time::timeout(crate::support::SOON, denied).await.unwrap().unwrap();
        assert!(!format!("{denied:?}").contains("tch_"), "{denied:?} shows a secret");
        drop(denied);
        assert_eq!(running.spool.lock().unwrap().pending(), 2);
        assert_eq!(collector.seen().sessions, 0);
        assert_eq!(running.metrics.sessions.get(), 0);
        running.finish().await;
    }
}

/// Proves that reports go through TLS to a collector whose certificate is signed by the given
/// authority, and that no credential and no report goes to any other.
#[tokio::test]
async fn tls_is_checked_against_the_given_authority() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(own.cert.pem(), own.signing_key.serialize_pem());
    let collector = Collector::start_tls(identity).await;
    let url = format!("https://localhost:{}", collector.address.port());
    let folder = Folder::new();
    let through = |authority: &str| {
        let file = folder.file("ca.pem", authority);
        collector_endpoint(&url, Some(&file), false).unwrap()
    };

    let running = start_over(through(&other.cert.pem()), &folder, joining());
    running.append(1..=2);
    let metrics = running.metrics.clone();
    eventually("the certificate is refused", || (metrics.failures.get() >= 2).then_some(())).await;
    assert!(collector.seen().enrolled.is_empty());
    running.finish().await;

    let running = start_over(through(&own.cert.pem()), &folder, joining());
    running.emptied().await;
    assert_eq!(collector.seen().numbers(), [1, 2]);
    running.finish().await;
}

/// Proves that in bursts everything is delivered once, each burst over a connection of its own that is closed
/// afterwards.
#[tokio::test]
async fn bursts_deliver_and_leave() {
    let (collector, folder) = (Collector::start().await, Folder::new());
    let endpoint = collector_endpoint(&collector.url(), None, false).unwrap();
    let every = Some(Duration::from_millis(200));
    let mut running = start_with(endpoint, every, &folder, joining());
    for burst in 0..3_u64 {
        running.append(burst * 100 + 1..=burst * 100 + 100);
        running.emptied().await;
        running.state.wait_for(|state| *state == UplinkState::Resting).await.unwrap();
        eventually("the connection is closed", || {
            (connections_to(collector.address.port()) == 0).then_some(())
        })
        .await;
    }
    let sent = (0..3).flat_map(|burst| burst * 100 + 1..=burst * 100 + 100);
    assert_eq!(collector.seen().numbers(), sent.collect::<Vec<_>>());
    assert!(collector.seen().sessions >= 3);
    running.finish().await;
}

/// Established connections to this port of ours (proc_net_tcp(5)).
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let fields = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[2].ends_with(&remote) && fields[3] == "01").count()
}
