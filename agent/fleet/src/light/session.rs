//! One session of a light host: Hello, Welcome, batches and their answers.

use std::collections::VecDeque;
use std::time::Duration;

use fleet_proto::pb;
use fleet_proto::pb::collector_message::Message as FromCollector;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};

use super::faults::Role;
use super::host::Host;
use super::pace::{Next, Pace, Stretch};
use super::tally::count;
use super::wire::{self, Encoded};

const PATH: &str = "/fleet.v1.Ingest/Session";
/// Most reports in one batch, as an agent's.
const MAX_BATCH: u32 = 64;
/// Longest wait for the Welcome.
const WELCOME_LIMIT: Duration = Duration::from_secs(30);
/// A batch that was put off is sent again after so long, as an agent does at first.
const PUT_OFF: Duration = Duration::from_millis(750);
/// Between two batches of a host that does not read.
const TALK_EVERY: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// There is nothing left to do.
    Done,
    /// It was broken on this side, for this reason.
    Lost(&'static str),
    /// The collector ended it or never opened it, or the connection broke.
    Failed { status: Box<Status>, opened: bool },
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Session {
    outgoing: mpsc::Sender<Vec<u8>>,
    incoming: Streaming<pb::CollectorMessage>,
    /// Cancelled when all connections break.
    era: CancellationToken,
    max_batch: u32,
    batches: u64,
    in_flight: VecDeque<InFlight>,
    witness: Option<pb::Witness>,
    /// Not before; a batch was put off.
    resume: Option<Instant>,
    scratch: Vec<u8>,
}

/// A batch whose answer is awaited.
#[derive(Debug)]
struct InFlight {
    number: u64,
    stretch: Stretch,
    sent_at: Instant,
    t1_realtime_ns: i64,
    /// It was acknowledged before.
    duplicate: bool,
}

impl Host {
    /// Opens a session, and forgets what the Welcome says is stored.
    pub(super) async fn open(&mut self) -> Result<Session, Status> {
        let (options, number) = (&self.fleet.options.light, self.model.number);
        let (channel, era) = match self.role {
            Role::SlowReader => self.fleet.connections.narrow(),
            _ => self.fleet.connections.of(number),
        };
        let (outgoing, stream) = mpsc::channel(options.pipeline as usize + 1);
        let hello = pb::Hello {
            host_id: self.id.as_bytes().to_vec(),
            boot_id: self.model.boot.as_bytes().to_vec(),
            host: Some(self.model.info()),
        };
        let _ = outgoing.try_send(wire::hello(hello));
        let mut request = Request::new(ReceiverStream::new(stream));
        let credential = self.credential.as_ref().map_or("", |credential| credential.expose());
        let mut bearer = MetadataValue::try_from(format!("Bearer {credential}"))
            .map_err(|_| Status::unauthenticated("malformed credential"))?;
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);
        let opening = async {
            let mut client = Grpc::new(channel);
            let ready = client.ready().await;
            ready.map_err(|error| Status::unavailable(format!("no connection: {error}")))?;
            let path = PathAndQuery::from_static(PATH);
            let mut incoming = client.streaming(request, path, Encoded).await?.into_inner();
            match next(&mut incoming).await? {
                FromCollector::Welcome(welcome) => Ok((incoming, welcome)),
                _ => Err(Status::internal("it began with something other than a Welcome")),
            }
        };
        let opened = tokio::time::timeout(WELCOME_LIMIT, opening).await;
        let (incoming, welcome) =
            opened.map_err(|_| Status::deadline_exceeded("no Welcome came"))??;
        self.forget(welcome.last_seq.unwrap_or(0));
        Ok(Session {
            outgoing,
            incoming,
            era,
            max_batch: welcome.max_batch.clamp(1, MAX_BATCH),
            batches: 0,
            in_flight: VecDeque::new(),
            witness: None,
            resume: None,
            scratch: Vec::new(),
        })
    }

    /// What was sent before and is stored need not be sent again.
    fn forget(&mut self, last_seq: u64) {
        let before: u64 = self.again.iter().map(|stretch| u64::from(stretch.count)).sum();
        self.again = self.again.drain(..).filter_map(|stretch| stretch.after(last_seq)).collect();
        let left: u64 = self.again.iter().map(|stretch| u64::from(stretch.count)).sum();
        self.acknowledged = self.acknowledged.max(last_seq);
        let mut tally = self.fleet.tally();
        tally.acknowledged += before - left;
        tally.acknowledged_late += before - left;
    }

    /// Batches out, answers in, until either side ends it.
    pub(super) async fn converse(&mut self, session: &mut Session) -> Ended {
        let fleet = self.fleet.clone();
        let mut storm = std::pin::pin!(session.era.clone().cancelled_owned());
        let mut stop = std::pin::pin!(fleet.stop.cancelled());
        if let Some(Pace::Flood { .. }) = self.pace {
            // Those who still come must not stand behind a flood.
            tokio::select! {
                () = fleet.all_here.cancelled() => {}
                () = &mut stop => {}
                () = &mut storm => return Ended::Lost("storm"),
            }
        }
        loop {
            let stopping = fleet.stop.is_cancelled();
            if stopping && session.in_flight.is_empty() && self.again.is_empty() {
                return Ended::Done;
            }
            let wake = match self.choose(session, stopping) {
                Choice::Send { stretch, again } => {
                    if !self.send(session, stretch, again, false) {
                        return closed(session).await;
                    }
                    if self.dice.drops() {
                        return Ended::Lost("cut off");
                    }
                    continue;
                }
                Choice::Wait(wake) => wake,
            };
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut storm => return Ended::Lost("storm"),
                answer = next(&mut session.incoming) => {
                    let answered = answer.and_then(|answer| self.answered(session, answer));
                    match answered {
                        Ok(None) => {}
                        Ok(Some(duplicate)) => if !self.send(session, duplicate, true, true) {
                            return closed(session).await;
                        },
                        Err(status) => {
                            return Ended::Failed { status: Box::new(status), opened: true };
                        }
                    }
                }
                () = sleep => {}
                () = &mut stop, if !stopping => {}
            }
        }
    }

    /// What can be sent now. What has to be sent again goes alone: nothing may pass it.
    fn choose(&mut self, session: &Session, stopping: bool) -> Choice {
        let fleet = &self.fleet;
        if session.in_flight.len() >= fleet.options.light.pipeline as usize {
            return Choice::Wait(None);
        }
        if !self.again.is_empty() {
            if !session.in_flight.is_empty() {
                return Choice::Wait(None);
            }
            if let Some(resume) = session.resume.filter(|resume| *resume > Instant::now()) {
                return Choice::Wait(Some(resume));
            }
            let stretch = self.again.pop_front();
            return stretch
                .map_or(Choice::Wait(None), |stretch| Choice::Send { stretch, again: true });
        }
        let Some(pace) = self.pace.filter(|_| !stopping) else {
            return Choice::Wait(None);
        };
        match pace.next(&self.sent, fleet.world.elapsed_ns(), session.max_batch) {
            Next::Send(stretch) => {
                self.sent.advance(&stretch);
                Choice::Send { stretch, again: false }
            }
            Next::Wait(at) => Choice::Wait(Some(fleet.world.instant(at))),
        }
    }

    /// Hands a batch to the connection; false: the stream is closed, and the batch is to be sent again.
    fn send(
        &mut self,
        session: &mut Session,
        stretch: Stretch,
        again: bool,
        duplicate: bool,
    ) -> bool {
        session.batches += 1;
        let sent_at = Instant::now();
        let at = self.fleet.world.elapsed_ns();
        let header = pb::Batch {
            batch: session.batches,
            boot_id: self.model.boot.as_bytes().to_vec(),
            reports: Vec::new(),
            sent_realtime_ns: self.model.realtime_ns(at),
            sent_raw_ns: Some(self.model.raw_ns(at)),
            running_raw_ns: None,
            witness: session.witness.take(),
        };
        session.scratch.clear();
        self.model.encode(stretch, &mut session.scratch);
        let sent = session.outgoing.try_send(wire::batch(&header, &session.scratch)).is_ok();
        session.in_flight.push_back(InFlight {
            number: session.batches,
            stretch,
            sent_at,
            t1_realtime_ns: header.sent_realtime_ns,
            duplicate,
        });
        let mut tally = self.fleet.tally();
        let counter = if again { &mut tally.resent } else { &mut tally.sent };
        *counter += u64::from(stretch.count);
        sent
    }

    /// Takes an answer; it may be that the batch is to be sent once more for nothing.
    fn answered(
        &mut self,
        session: &mut Session,
        answer: FromCollector,
    ) -> Result<Option<Stretch>, Status> {
        let number = match &answer {
            FromCollector::Welcome(_) => return Ok(None),
            FromCollector::Ack(ack) => ack.batch,
            FromCollector::Refusal(refusal) => refusal.batch,
        };
        let in_flight = session.in_flight.pop_front().filter(|batch| batch.number == number);
        let Some(batch) = in_flight else {
            return Err(Status::internal("an answer to a batch that was not sent"));
        };
        let (stretch, fleet) = (batch.stretch, self.fleet.clone());
        let mut tally = fleet.tally();
        tally.latency.add(batch.sent_at.elapsed());
        match answer {
            FromCollector::Refusal(refusal) if refusal.retry => {
                count(&mut tally.put_off, &refusal.reason, 1);
                if !batch.duplicate {
                    self.again.push_back(stretch);
                    session.resume = Some(Instant::now() + PUT_OFF);
                }
                return Ok(None);
            }
            FromCollector::Refusal(refusal) => {
                self.refused += u64::from(stretch.count);
                count(&mut tally.refused, &refusal.reason, stretch.count.into());
            }
            FromCollector::Ack(ack) => {
                self.backoff.reset();
                session.witness = Some(pb::Witness {
                    t1_realtime_ns: batch.t1_realtime_ns,
                    t2_ns: ack.t2_ns,
                    t3_ns: ack.t3_ns,
                    t4_realtime_ns: self.model.realtime_ns(fleet.world.elapsed_ns()),
                });
                if batch.duplicate {
                    return Ok(None);
                }
                let refused = ack.refused.len() as u64;
                for report in &ack.refused {
                    count(&mut tally.refused, &report.reason, 1);
                }
                self.refused += refused;
                tally.acknowledged += u64::from(stretch.count).saturating_sub(refused);
                self.acknowledged = self.acknowledged.max(stretch.last());
                if self.dice.duplicates() {
                    return Ok(Some(stretch));
                }
            }
            FromCollector::Welcome(_) => {}
        }
        Ok(None)
    }

    /// The session is over: what it did not get an answer to has to be sent again, in order.
    pub(super) fn take_back(&mut self, session: Session) {
        let unanswered = session.in_flight.into_iter().filter(|batch| !batch.duplicate);
        let mut again: VecDeque<_> = unanswered.map(|batch| batch.stretch).collect();
        again.append(&mut self.again);
        self.again = again;
        self.again.make_contiguous().sort_by_key(|stretch| stretch.first);
    }

    /// A host that does not read: it sends until nothing more goes out.
    pub(super) async fn talk_on(&mut self, mut session: Session) -> Ended {
        let fleet = self.fleet.clone();
        let mut storm = std::pin::pin!(session.era.clone().cancelled_owned());
        loop {
            tokio::select! {
                () = &mut storm => return Ended::Lost("storm"),
                () = fleet.stop.cancelled() => return Ended::Done,
                () = session.outgoing.closed() => return closed(&mut session).await,
                () = tokio::time::sleep(TALK_EVERY) => {}
            }
            let at_ns = fleet.world.elapsed_ns();
            let stretch = Stretch { first: self.sent.last + 1, count: 1, at_ns, step_ns: 1 };
            if session.outgoing.capacity() > 0 {
                self.sent.advance(&stretch);
                self.send(&mut session, stretch, false, false);
                session.in_flight.clear();
                let mut tally = fleet.tally();
                tally.sent -= 1;
                tally.unread += 1;
            }
        }
    }
}

enum Choice {
    Send {
        stretch: Stretch,
        again: bool,
    },
    /// For an answer, or until this moment.
    Wait(Option<Instant>),
}

/// Nothing can be sent any more: the other side has said why, or the connection broke.
async fn closed(session: &mut Session) -> Ended {
    let limit = tokio::time::timeout(WELCOME_LIMIT, async {
        loop {
            if let Err(status) = next(&mut session.incoming).await {
                return status;
            }
        }
    });
    let status = limit.await.unwrap_or_else(|_| Status::unavailable("the stream is closed"));
    Ended::Failed { status: Box::new(status), opened: true }
}

async fn next(incoming: &mut Streaming<pb::CollectorMessage>) -> Result<FromCollector, Status> {
    let message = incoming.message().await?;
    let message = message.ok_or_else(|| Status::unavailable("the collector closed the session"))?;
    message.message.ok_or_else(|| Status::internal("an empty message"))
}
