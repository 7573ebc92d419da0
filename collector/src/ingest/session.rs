//! One open session of an agent, from its hello to its end: what it sends, what it is answered.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as FromAgent;
use fleet_proto::pb::collector_message::Message as ToAgent;
use prost::Message;
use store::Store;
use store::hosts::KnownHost;
use timebase::{BootId, HostId, Timestamp, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::batch::{self, Context, RefusedReport};
use super::identity;
use super::refusals::Refusals;
use super::sessions::{Cut, Seat};
use super::writer::{Outcome, Queues};
use super::{Metrics, Reason};
use crate::clock;

/// Most batches of one session that are under way: enough to hide a commit's latency.
pub(super) const PIPELINE: usize = 4;
/// A client that opens a stream and says nothing is not an agent.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// A host over its quota is not read for so long at most.
const QUOTA_PAUSE: Duration = Duration::from_secs(1);

/// Boxed on its way, as [`Answer`] is: a channel has room for 32 items from the start, and most of the time
/// holds none.
pub(super) type Outgoing = mpsc::Sender<Box<Outgone>>;
/// What leaves: a message, or why the session ends.
pub(super) type Outgone = Result<pb::CollectorMessage, Status>;

/// What every session of this process shares.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) queues: Queues,
    pub(super) refusals: Refusals,
    pub(super) metrics: Metrics,
    pub(super) max_batch: u32,
    pub(super) idle: Duration,
    /// Cancelled: read no more, answer what was read, end.
    pub(super) drain: CancellationToken,
}

/// One stream of one agent.
pub(super) struct Session {
    shared: Arc<Shared>,
    host: Host,
    seat: Seat,
    outgoing: Outgoing,
}

/// Whose it is.
struct Host {
    key: i64,
    id: HostId,
    name: String,
}

/// A batch that was told to come again. Later ones of its boot must not pass it: storing them would move
/// the watermark above its reports.
struct PutOff {
    boot: Vec<u8>,
    first: u64,
}

/// An answer that is due, in the order of the batches.
enum Answer {
    Now(pb::Refusal),
    Later {
        batch: u64,
        t2: Timestamp<Utc>,
        refused: Vec<RefusedReport>,
        outcome: oneshot::Receiver<Outcome>,
    },
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        host: &KnownHost,
        seat: Seat,
        outgoing: Outgoing,
    ) -> Self {
        let host = Host { key: host.key, id: host.id, name: host.info.name.clone() };
        Self { shared, host, seat, outgoing }
    }

    /// Runs the stream to its end; the agent is told why it ended, unless it ended it itself.
    pub(super) async fn run(
        self,
        known: Box<KnownHost>,
        mut incoming: Streaming<pb::AgentMessage>,
    ) {
        // In a box: what it needs of memory is given back before the long wait begins.
        let ended = match Box::pin(self.hello(known, &mut incoming)).await {
            Ok(boot) => self.converse(boot, &mut incoming).await,
            Err(status) => Err(status),
        };
        let host = &self.host;
        let Err(status) = ended else {
            tracing::debug!(host.id = %host.id, host.name, "session of {} ended", host.name);
            return;
        };
        tracing::info!(
            host.id = %host.id, host.name, code = ?status.code(),
            "session of {} ended: {}", host.name, status.message()
        );
        // Whoever does not read learns nothing more.
        let _ = self.outgoing.try_send(Box::new(Err(status)));
    }

    /// The first message: who speaks, of which boot.
    async fn hello(
        &self,
        known: Box<KnownHost>,
        incoming: &mut Streaming<pb::AgentMessage>,
    ) -> Result<BootId, Status> {
        let first = tokio::time::timeout(HELLO_LIMIT, incoming.message()).await;
        let first = first.map_err(|_| self.refuse(Reason::Protocol, "no Hello came"))?;
        let message = first.map_err(|status| self.broken(status))?.and_then(|m| m.message);
        let Some(FromAgent::Hello(hello)) = message else {
            return Err(self.refuse(Reason::Protocol, "the first message must be Hello"));
        };
        if hello.host_id != self.host.id.as_bytes() {
            return Err(self.refuse(Reason::WrongHost, "the credential belongs to another host"));
        }
        let malformed = |error| self.refuse(Reason::Malformed, &format!("{error}"));
        let boot = fleet_proto::convert::id16(&hello.boot_id, "boot_id").map_err(malformed)?;
        let boot = BootId::from_bytes(boot);
        let info = identity::host_info(hello.host.unwrap_or_default()).map_err(malformed)?;
        let shared = &self.shared;
        let unavailable = |error| identity::unavailable(&error);
        // Most sessions find everything as the last one left it, and ask the database nothing more.
        if info != known.info {
            shared.store.describe_host(known.key, &info).await.map_err(unavailable)?;
        }
        if !known.credential_used {
            let (hash, now) = (&known.credential_hash, clock::now());
            shared.store.credential_used(hash, now).await.map_err(unavailable)?;
        }
        let last = match known.newest {
            Some((newest, seq)) if newest == boot => Some(seq),
            _ => shared.store.last_seq(known.key, boot).await.map_err(unavailable)?,
        };
        let welcome = pb::Welcome {
            last_seq: last.map(|seq| seq.0),
            max_batch: shared.max_batch,
            collector_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        tracing::debug!(host.id = %self.host.id, host.name = info.name, "session of {}", info.name);
        self.send(ToAgent::Welcome(welcome)).await?;
        Ok(boot)
    }

    /// Batches in, answers out, until either side ends it.
    async fn converse(
        &self,
        boot: BootId,
        incoming: &mut Streaming<pb::AgentMessage>,
    ) -> Result<(), Status> {
        let (answers, due) = mpsc::channel(PIPELINE);
        let both = async {
            let (read, answered) =
                tokio::join!(self.read(boot, incoming, answers), self.answer(due));
            answered.and(read)
        };
        tokio::select! {
            ended = both => ended,
            cut = self.seat.cut() => Err(match cut {
                Cut::Revoked => self.refuse(Reason::Revoked, "the credential was revoked"),
                Cut::Superseded => Status::aborted("this host has opened newer sessions"),
            }),
        }
    }

    async fn read(
        &self,
        boot: BootId,
        incoming: &mut Streaming<pb::AgentMessage>,
        answers: mpsc::Sender<Box<Answer>>,
    ) -> Result<(), Status> {
        let mut put_off = None;
        let context = Context { host: self.host.key, boot, max_batch: self.shared.max_batch };
        loop {
            let message = tokio::select! {
                () = self.shared.drain.cancelled() => {
                    return Err(Status::unavailable("the collector is stopping"));
                }
                // The one who answers has ended: nobody is left to read for.
                () = answers.closed() => return Ok(()),
                message = tokio::time::timeout(self.shared.idle, incoming.message()) => message,
            };
            let message = message.map_err(|_| Status::aborted("nothing was sent for too long"))?;
            let Some(message) = message.map_err(|status| self.broken(status))? else {
                return Ok(());
            };
            let received_at = clock::now();
            let Some(FromAgent::Batch(wire)) = message.message else {
                return Err(self.refuse(Reason::Protocol, "after Hello only batches are taken"));
            };
            self.shared.metrics.batches.inc();
            let answer = self.take(wire, context, received_at, &mut put_off).await;
            let over_quota = matches!(&answer, Answer::Now(refusal) if refusal.retry);
            if answers.send(Box::new(answer)).await.is_err() {
                return Ok(());
            }
            if over_quota {
                tokio::time::sleep(QUOTA_PAUSE).await;
            }
        }
    }

    /// Refuses the batch, or gives what can be stored of it to the writer.
    async fn take(
        &self,
        wire: pb::Batch,
        context: Context,
        received_at: Timestamp<Utc>,
        put_off: &mut Option<PutOff>,
    ) -> Answer {
        let number = wire.batch;
        let refuse = |reason: Reason, detail: String, retry| {
            self.count(reason, &detail);
            let reason = reason.word().to_owned();
            Answer::Now(pb::Refusal { batch: number, reason, detail, retry })
        };
        let first = wire.reports.first().map_or(0, |report| report.seq);
        if put_off
            .as_ref()
            .is_some_and(|before| before.boot == wire.boot_id && before.first < first)
        {
            let detail = "an earlier batch was put off; send that one first".to_owned();
            return refuse(Reason::OverQuota, detail, true);
        }
        // An empty batch is work too.
        if let Err(wait) = self.seat.take(wire.reports.len().clamp(1, context.max_batch as usize)) {
            *put_off = Some(PutOff { boot: wire.boot_id, first });
            let detail = format!("more reports than the quota; send again in {wait:.1?}");
            return refuse(Reason::OverQuota, detail, true);
        }
        *put_off = None;
        let bytes = wire.encoded_len();
        let checked = match batch::check(wire, context, received_at) {
            Ok(checked) => checked,
            Err(batch::Refused { reason, detail }) => return refuse(reason, detail, false),
        };
        if checked.bad_witness {
            self.count(Reason::BadWitness, "the stamps of an exchange contradict each other");
        }
        for report in &checked.refused {
            self.count(report.reason, &format!("seq {}: {}", report.seq, report.detail));
        }
        let outcome = self.shared.queues.put(checked.batch, bytes).await;
        Answer::Later { batch: number, t2: received_at, refused: checked.refused, outcome }
    }

    /// Answers in the order of the batches, each once its outcome is known.
    async fn answer(&self, mut due: mpsc::Receiver<Box<Answer>>) -> Result<(), Status> {
        while let Some(answer) = due.recv().await {
            let (batch, t2, refused, outcome) = match *answer {
                Answer::Now(refusal) => {
                    self.send(ToAgent::Refusal(refusal)).await?;
                    continue;
                }
                Answer::Later { batch, t2, refused, outcome } => (batch, t2, refused, outcome),
            };
            let answer = match outcome.await {
                Ok(Outcome::Stored(stored)) => ToAgent::Ack(pb::Ack {
                    batch,
                    seq: stored.last_seq.0,
                    t2_ns: t2.as_ns(),
                    t3_ns: clock::now().as_ns(),
                    refused: refused.into_iter().map(report_refusal).collect(),
                }),
                Ok(Outcome::Unstorable) => {
                    let detail = "the database refuses its rows".to_owned();
                    self.count(Reason::Unstorable, &detail);
                    let reason = Reason::Unstorable.word().to_owned();
                    ToAgent::Refusal(pb::Refusal { batch, reason, detail, retry: false })
                }
                Err(_) => return Err(Status::unavailable("not stored; send it again")),
            };
            self.send(answer).await?;
        }
        Ok(())
    }

    async fn send(&self, message: ToAgent) -> Result<(), Status> {
        let message = pb::CollectorMessage { message: Some(message) };
        match tokio::time::timeout(self.shared.idle, self.outgoing.send(Box::new(Ok(message))))
            .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the agent has gone")),
            Err(_) => Err(self.refuse(Reason::SlowReader, "answers are not read")),
        }
    }

    /// Counts a message that could not be read; a connection that merely broke is nobody's fault.
    fn broken(&self, status: Status) -> Status {
        match status.code() {
            Code::OutOfRange | Code::ResourceExhausted => {
                self.count(Reason::BatchTooLarge, status.message());
            }
            Code::Internal if status.message().contains("decode") => {
                self.count(Reason::Malformed, status.message());
            }
            // An error of HTTP/2 underneath, which reads like a fault: agents that stop just hang up.
            _ if status.source().is_some() => return Status::cancelled("the agent hung up"),
            _ => {}
        }
        status
    }

    /// Counts a reason for which the session ends.
    fn refuse(&self, reason: Reason, detail: &str) -> Status {
        self.count(reason, detail);
        let text = format!("{}: {detail}", reason.word());
        match reason {
            Reason::WrongHost => Status::permission_denied(text),
            Reason::Revoked => Status::unauthenticated(text),
            Reason::SlowReader => Status::aborted(text),
            _ => Status::invalid_argument(text),
        }
    }

    fn count(&self, reason: Reason, detail: &str) {
        tracing::debug!(
            host.id = %self.host.id, host.name = self.host.name, reason = reason.word(),
            "refused: {detail}"
        );
        self.shared.refusals.count(self.host.key, reason, detail);
    }
}

fn report_refusal(refused: RefusedReport) -> pb::ReportRefusal {
    pb::ReportRefusal { seq: refused.seq, reason: refused.reason.word().to_owned() }
}
