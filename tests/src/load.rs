use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as ToCollector;
use fleet_proto::pb::collector_message::Message as FromCollector;
use fleet_proto::pb::ingest_client::IngestClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use uuid::Uuid;

use crate::clock;

/// Longest wait for an answer; a collector that was killed says nothing at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Reports made together by a host that waits for acknowledgements.
const AT_ONCE: u64 = 20;
/// Between two attempts to connect.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// A bare client of the wire: what an agent says, without an agent, so that tests can say other things.
#[derive(Clone, Debug)]
pub struct Client {
    /// Who it says it is.
    pub host_id: Uuid,
    /// Host name.
    pub name: String,
    /// The boot it says it is in.
    pub boot_id: Uuid,
    /// What it enrolled for.
    pub credential: String,
    url: String,
    born: Instant,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    /// To the collector.
    pub out: mpsc::Sender<pb::AgentMessage>,
    /// From the collector.
    pub answers: Streaming<pb::CollectorMessage>,
    /// The collector's first words.
    pub welcome: pb::Welcome,
    batch: u64,
}

impl Client {
    /// Enrols a new host.
    pub async fn enrol(url: &str, join_token: &Path, name: &str) -> Result<Self> {
        let host_id = Uuid::new_v4();
        let request = pb::EnrolRequest {
            join_token: fs::read_to_string(join_token)?.trim().to_owned(),
            host_id: host_id.as_bytes().to_vec(),
            host: Some(info(name)),
        };
        let reply = IngestClient::connect(url.to_owned()).await?.enrol(request).await?;
        Ok(Self {
            host_id,
            name: name.to_owned(),
            boot_id: Uuid::new_v4(),
            credential: reply.into_inner().credential,
            url: url.to_owned(),
            born: Instant::now(),
        })
    }

    /// Its raw clock, ns.
    pub fn raw_ns(&self) -> i64 {
        self.born.elapsed().as_nanos() as i64 + 1_000_000_000_000
    }

    /// Opens a session and waits for the welcome.
    pub async fn session(&self) -> Result<Session> {
        self.open(IngestClient::connect(self.url.clone()).await?).await
    }

    /// The same by a client that has room for a few bytes of unread answers only.
    pub async fn narrow_session(&self) -> Result<Session> {
        let endpoint = Endpoint::from_shared(self.url.clone())?.initial_stream_window_size(64);
        self.open(IngestClient::new(endpoint.connect().await?)).await
    }

    async fn open(&self, mut client: IngestClient<Channel>) -> Result<Session> {
        let (out, queue) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(queue));
        let bearer = format!("Bearer {}", self.credential);
        request.metadata_mut().insert("authorization", bearer.parse()?);
        let hello = pb::Hello {
            host_id: self.host_id.as_bytes().to_vec(),
            boot_id: self.boot_id.as_bytes().to_vec(),
            host: Some(info(&self.name)),
        };
        out.send(pb::AgentMessage { message: Some(ToCollector::Hello(hello)) }).await?;
        let mut answers = client.session(request).await?.into_inner();
        let first = tokio::time::timeout(ANSWER_WITHIN, answers.message()).await??;
        match first.and_then(|message| message.message) {
            Some(FromCollector::Welcome(welcome)) => {
                Ok(Session { out, answers, welcome, batch: 0 })
            }
            other => bail!("instead of a welcome: {other:?}"),
        }
    }

    /// A plausible report of this moment.
    pub fn report(&self, seq: u64) -> pb::Report {
        pb::Report {
            seq,
            raw_ns: self.raw_ns(),
            realtime_ns: clock::since_1970().as_nanos() as i64,
            bounds: Some(pb::Bounds { lo_ns: -1_000_000, hi_ns: 1_000_000 }),
            drift_limit_ppb: 50_000,
            state: pb::SyncState::Synchronised.into(),
            leap: pb::Leap::None.into(),
            discipliner: pb::Discipliner::None.into(),
            kernel: Some(pb::KernelClock::default()),
            ..pb::Report::default()
        }
    }

    /// A batch of these reports, sent at this moment.
    pub fn batch(&self, reports: Vec<pb::Report>) -> pb::Batch {
        pb::Batch {
            batch: 0,
            boot_id: self.boot_id.as_bytes().to_vec(),
            reports,
            sent_realtime_ns: clock::since_1970().as_nanos() as i64,
            sent_raw_ns: Some(self.raw_ns()),
            running_raw_ns: None,
            witness: None,
        }
    }
}

impl Session {
    /// Sends a batch without waiting for its answer.
    pub async fn send(&mut self, mut batch: pb::Batch) -> Result<()> {
        self.batch += 1;
        batch.batch = self.batch;
        let message = pb::AgentMessage { message: Some(ToCollector::Batch(batch)) };
        self.out.send(message).await.context("the collector closed the session")
    }

    /// The next answer: an acknowledgement or a refusal.
    pub async fn answer(&mut self) -> Result<FromCollector> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.answers.message()).await??;
        answer.and_then(|message| message.message).context("the collector closed the session")
    }
}

fn info(name: &str) -> pb::HostInfo {
    pb::HostInfo { name: name.to_owned(), agent_version: "test".into(), ..pb::HostInfo::default() }
}

/// When a host under load makes its next reports.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as all before are acknowledged.
    Acknowledged,
    /// So many a second, whether they are acknowledged or not: what is not waits, as in a spool.
    PerSecond(u64),
}

/// One host under load, whatever happens to the collector.
#[derive(Debug)]
pub struct Load {
    /// Its client.
    pub client: Client,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<u64>>,
}

impl Load {
    /// Starts one.
    pub fn start(client: Client, pace: Pace) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(client.clone(), pace, Arc::clone(&stop)));
        Self { client, stop, task }
    }

    /// Makes no more reports, waits until all are acknowledged, and says how many there were: their
    /// numbers are 1 to that.
    pub async fn finish(self, within: Duration) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        tokio::time::timeout(within, self.task).await.context("not all was acknowledged")??
    }
}

async fn run(client: Client, pace: Pace, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut made = Made { pace, stop, since: Instant::now(), count: 0, acknowledged: 0 };
    loop {
        // A refused connection and a broken one are the collector's death: what the test is about.
        if let Ok(session) = client.session().await {
            let _ = pump(&client, session, &mut made).await;
        }
        made.more();
        if made.is_over() {
            return Ok(made.count);
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

/// Reports made so far: their numbers are 1 to `count`.
struct Made {
    pace: Pace,
    stop: Arc<AtomicBool>,
    since: Instant,
    count: u64,
    acknowledged: u64,
}

impl Made {
    /// Makes what is due.
    fn more(&mut self) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        match self.pace {
            Pace::Acknowledged if self.count == self.acknowledged => self.count += AT_ONCE,
            Pace::Acknowledged => {}
            Pace::PerSecond(rate) => {
                let due = self.since.elapsed().as_millis() as u64 * rate / 1_000;
                self.count = self.count.max(due);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) && self.acknowledged == self.count
    }
}

/// Until the session breaks, or all is said.
async fn pump(client: &Client, mut session: Session, made: &mut Made) -> Result<()> {
    let mut batches = 0u64;
    loop {
        made.more();
        if made.is_over() {
            return Ok(());
        }
        if made.count == made.acknowledged {
            tokio::time::sleep(RETRY_EVERY).await;
            continue;
        }
        let first = made.acknowledged + 1;
        let last = made.count.min(made.acknowledged + u64::from(session.welcome.max_batch));
        let batch = client.batch((first..=last).map(|seq| client.report(seq)).collect());
        // Every fifth batch is said twice, as after an acknowledgement that was lost.
        batches += 1;
        let times = if batches.is_multiple_of(5) { 2 } else { 1 };
        for _ in 0..times {
            session.send(batch.clone()).await?;
        }
        for _ in 0..times {
            match session.answer().await? {
                FromCollector::Ack(ack) => made.acknowledged = ack.seq.max(made.acknowledged),
                FromCollector::Refusal(refusal) if refusal.retry => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                other => bail!("instead of an acknowledgement: {other:?}"),
            }
        }
    }
}
