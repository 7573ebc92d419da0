//! One session: Hello, Welcome, then one batch in flight at a time.

use std::time::Duration;

use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as ToCollector;
use fleet_proto::pb::collector_message::Message as FromCollector;
use fleet_proto::pb::ingest_client::IngestClient;
use timebase::{BootId, Seq};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};
use tracing::{info, warn};

use super::{
    Backlog, Backoff, Credentials, PendingBatch, RETRY_LEAST, RETRY_MOST, Secret, Uplink,
    UplinkError, UplinkState,
};

/// Longest wait for the Welcome and for the answer to a batch. A collector that is merely slow keeps
/// the stream open; one that is gone is noticed by the connection's keep-alive.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most reports in one batch, if the collector allows that many: about 60 kB.
const MAX_BATCH: usize = 64;
/// Most bytes of reports in one batch, well below what a collector takes in one message: reports full
/// of sources and events are a hundred times larger than usual ones.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Messages on their way to the network: one batch in flight, and the Hello.
const OUTGOING: usize = 2;

/// An open stream and what is known about it.
struct Session {
    outgoing: mpsc::Sender<pb::AgentMessage>,
    incoming: Streaming<pb::CollectorMessage>,
    max_batch: usize,
    batches: u64,
    witness: Option<pb::Witness>,
}

/// A batch whose answer is awaited.
struct InFlight {
    number: u64,
    boot: BootId,
    last: Seq,
    reports: u64,
    t1_realtime_ns: i64,
}

impl<B: Backlog, C: Credentials> Uplink<B, C> {
    pub(super) async fn session(
        &mut self,
        credential: Secret,
        leave: bool,
        stop: &CancellationToken,
        drain: Duration,
        backoff: &mut Backoff,
    ) -> Result<(), UplinkError> {
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = self.open(&credential) => opened,
        };
        let mut session = opened?;
        self.metrics.sessions.inc();
        self.metrics.connected.set(1);
        self.state.send_replace(UplinkState::Connected);
        info!(host.id = %self.reporter.host, host.name = self.reporter.info.name,
            "reporting to the collector");
        tokio::select! {
            ended = self.deliver(&mut session, leave, stop, backoff) => ended,
            () = async { stop.cancelled().await; tokio::time::sleep(drain).await; } => Ok(()),
        }
    }

    async fn open(&mut self, credential: &Secret) -> Result<Session, UplinkError> {
        let (outgoing, stream) = mpsc::channel(OUTGOING);
        let hello = pb::Hello {
            host_id: self.reporter.host.as_bytes().to_vec(),
            boot_id: self.reporter.boot.as_bytes().to_vec(),
            host: Some(self.reporter.info.clone()),
        };
        send(&outgoing, ToCollector::Hello(hello)).await?;
        let mut request = Request::new(ReceiverStream::new(stream));
        let mut bearer = MetadataValue::try_from(format!("Bearer {}", credential.expose()))
            .map_err(|_| UplinkError::Rpc(Status::unauthenticated("malformed credential file")))?;
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);

        let mut client = IngestClient::new(self.channel.clone());
        let opening = async {
            let mut incoming = client.session(request).await?.into_inner();
            match next(&mut incoming).await? {
                FromCollector::Welcome(welcome) => Ok((incoming, welcome)),
                _ => Err(UplinkError::Protocol("it began with something other than a Welcome")),
            }
        };
        let (incoming, welcome) = tokio::time::timeout(ANSWER_TIMEOUT, opening)
            .await
            .map_err(|_| UplinkError::Silent("welcome", ANSWER_TIMEOUT))??;
        if let Some(seq) = welcome.last_seq {
            self.backlog.acknowledge(self.reporter.boot, Seq(seq));
        }
        let max_batch = usize::try_from(welcome.max_batch).unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH);
        Ok(Session { outgoing, incoming, max_batch, batches: 0, witness: None })
    }

    /// Sends batch after batch. `Ok` once nothing is left and `stop` is called or it was to `leave` then.
    async fn deliver(
        &mut self,
        session: &mut Session,
        leave: bool,
        stop: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), UplinkError> {
        let mut busy = Backoff::new(RETRY_LEAST, RETRY_MOST);
        loop {
            let Some(mut batch) = self.backlog.next_batch(session.max_batch) else {
                if leave || stop.is_cancelled() {
                    return Ok(());
                }
                self.wait_for_reports(session, stop).await?;
                continue;
            };
            batch.limit_bytes(MAX_BATCH_BYTES);
            let in_flight = self.send_batch(session, batch).await?;
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, next(&mut session.incoming))
                .await
                .map_err(|_| UplinkError::Silent("acknowledgement", ANSWER_TIMEOUT))??;
            match answer {
                FromCollector::Ack(ack) if ack.batch == in_flight.number => {
                    self.acknowledged(session, &in_flight, &ack);
                    busy.reset();
                    // Not sooner: a collector that takes sessions but no reports is overloaded.
                    backoff.reset();
                }
                FromCollector::Refusal(refusal) if refusal.batch == in_flight.number => {
                    self.refused(&in_flight, &refusal);
                    if refusal.retry {
                        let wait = busy.next(u32::MAX / 2);
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            ended = next(&mut session.incoming) => { ended?; }
                        }
                    }
                }
                _ => return Err(UplinkError::Protocol("an answer to a batch that was not sent")),
            }
        }
    }

    async fn wait_for_reports(
        &self,
        session: &mut Session,
        stop: &CancellationToken,
    ) -> Result<(), UplinkError> {
        tokio::select! {
            () = self.grown.notified() => Ok(()),
            () = stop.cancelled() => Ok(()),
            // Nothing is awaited from the collector now; this notices the end of the stream.
            message = next(&mut session.incoming) => match message? {
                FromCollector::Welcome(_) => Ok(()),
                _ => Err(UplinkError::Protocol("an answer to nothing")),
            },
        }
    }

    async fn send_batch(
        &self,
        session: &mut Session,
        batch: PendingBatch,
    ) -> Result<InFlight, UplinkError> {
        session.batches += 1;
        let last = batch.last_seq();
        let reports = batch.reports.len() as u64;
        let (realtime, raw) = (self.clocks)();
        let current = batch.boot == self.reporter.boot;
        let message = pb::Batch {
            batch: session.batches,
            boot_id: batch.boot.as_bytes().to_vec(),
            reports: batch.reports,
            sent_realtime_ns: realtime.as_ns(),
            sent_raw_ns: current.then(|| raw.as_ns()),
            running_raw_ns: (!current).then(|| raw.as_ns()),
            witness: session.witness.take(),
        };
        send(&session.outgoing, ToCollector::Batch(message)).await?;
        self.metrics.batches.inc();
        Ok(InFlight {
            number: session.batches,
            boot: batch.boot,
            last,
            reports,
            t1_realtime_ns: realtime.as_ns(),
        })
    }

    /// Everything in the batch is committed, or can never be stored: forget it.
    fn acknowledged(&mut self, session: &mut Session, sent: &InFlight, ack: &pb::Ack) {
        let (t4, _) = (self.clocks)();
        session.witness = Some(pb::Witness {
            t1_realtime_ns: sent.t1_realtime_ns,
            t2_ns: ack.t2_ns,
            t3_ns: ack.t3_ns,
            t4_realtime_ns: t4.as_ns(),
        });
        for refused in &ack.refused {
            self.metrics.refused_reports.inc();
            warn!(host.id = %self.reporter.host, seq = refused.seq,
                "the collector refused report {}: {}", refused.seq, refused.reason);
        }
        self.backlog.acknowledge(sent.boot, sent.last);
        let refused = ack.refused.len() as u64;
        self.metrics.acknowledged.inc_by(sent.reports.saturating_sub(refused));
    }

    fn refused(&mut self, sent: &InFlight, refusal: &pb::Refusal) {
        self.metrics.refused_batches.inc();
        let then = if refusal.retry {
            "sent again later"
        } else {
            self.metrics.refused_reports.inc_by(sent.reports);
            self.backlog.acknowledge(sent.boot, sent.last);
            "dropped"
        };
        warn!(host.id = %self.reporter.host, reports = sent.reports,
            "the collector refused {} reports ({}: {}): {then}",
            sent.reports, refusal.reason, refusal.detail);
    }
}

async fn send(
    outgoing: &mpsc::Sender<pb::AgentMessage>,
    message: ToCollector,
) -> Result<(), UplinkError> {
    let message = pb::AgentMessage { message: Some(message) };
    outgoing.send(message).await.map_err(|_| UplinkError::Closed)
}

async fn next(
    incoming: &mut Streaming<pb::CollectorMessage>,
) -> Result<FromCollector, UplinkError> {
    let message = incoming.message().await?.ok_or(UplinkError::Closed)?;
    message.message.ok_or(UplinkError::Protocol("an empty message"))
}
