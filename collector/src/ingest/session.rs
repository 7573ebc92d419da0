//! One open session of an agent, from its hello to its end: what it sends, what it is answered.
//!
//! A collector holds tens of thousands of them, and most only wait: a session is a part of its connection's
//! task, has one timer, and holds no buffer and no queue while nothing is under way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fleet_proto::pb::collector_message::Message as ToAgent;
use fleet_proto::{lazy, pb};
use store::hosts::KnownHost;
use timebase::{BootId, Timestamp, Utc};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::Reason;
use super::agent::{Agent, Shared, gone};
use super::batch::{self, RefusedReport};
use super::grpc::{Incoming, Outgoing, Received};
use super::sessions::{Cut, Seat};
use super::writer::Outcome;
use crate::clock;

/// Most batches of one session that are under way: enough to hide a commit's latency.
pub(super) const PIPELINE: usize = 4;
/// A host over its quota is not read for so long at most.
const QUOTA_PAUSE: Duration = Duration::from_secs(1);

/// One stream of one agent, after its hello.
pub(super) struct Session {
    agent: Agent,
    seat: Seat,
    boot: BootId,
    incoming: Incoming,
    outgoing: Outgoing,
    /// A batch on its way into the writer's queue.
    queueing: Option<Queueing>,
    /// Answers that are due, in the order of the batches.
    due: VecDeque<Answer>,
    put_off: Option<Box<PutOff>>,
    reading: Reading,
    /// Since when an answer waits for the agent to read.
    unread_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

type Queueing = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Whether the agent is read.
enum Reading {
    /// It is, and has said nothing since.
    Since(Instant),
    /// Enough is under way.
    Blocked,
    /// It is over its quota.
    PausedUntil(Instant),
    /// No more. What was read is answered, then the session ends like this.
    Over(Result<(), Status>),
}

/// A batch that was told to come again. Later ones of its boot must not pass it: storing them would move
/// the watermark above its reports.
struct PutOff {
    boot: Vec<u8>,
    first: u64,
}

/// An answer that is due.
enum Answer {
    Now(Box<pb::Refusal>),
    Later {
        batch: u64,
        t2: Timestamp<Utc>,
        refused: Vec<RefusedReport>,
        outcome: oneshot::Receiver<Outcome>,
    },
}

impl Session {
    /// Waits for the hello, and answers it. If it is not as it must be the agent is told why.
    pub(super) async fn open(
        shared: Arc<Shared>,
        known: KnownHost,
        seat: Seat,
        mut incoming: Incoming,
        mut outgoing: Outgoing,
    ) -> Option<Self> {
        let name = known.info.name.as_str().into();
        let agent = Agent { shared, key: known.key, id: known.id, name };
        let cut = std::future::poll_fn(|cx| seat.poll_cut(cx));
        let hello = tokio::select! {
            hello = agent.hello(known, &mut incoming, &mut outgoing) => hello,
            cut = cut => Err(agent.cut(cut)),
        };
        match hello {
            Ok(boot) => Some(Self {
                seat,
                boot,
                incoming,
                outgoing,
                queueing: None,
                due: VecDeque::new(),
                put_off: None,
                reading: Reading::Since(Instant::now()),
                unread_since: None,
                timer: Box::pin(tokio::time::sleep(agent.shared.idle)),
                agent,
            }),
            Err(status) => {
                agent.tell_end(&Err(status.clone()));
                outgoing.end(&status);
                None
            }
        }
    }

    /// Batches in, answers out, until either side ends it; the agent is told why.
    pub(super) async fn run(&mut self) {
        let ended = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.agent.tell_end(&ended);
        self.outgoing.end(&ended.err().unwrap_or_else(|| Status::ok("")));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self.seat.poll_cut(cx) {
            Poll::Pending => {}
            Poll::Ready(Cut::Stopping) => {
                if !matches!(self.reading, Reading::Over(_)) {
                    self.reading = Reading::Over(Err(self.agent.cut(Cut::Stopping)));
                }
            }
            Poll::Ready(cut) => return Poll::Ready(Err(self.agent.cut(cut))),
        }
        loop {
            let sent = self.poll_answers(cx)?;
            if let Poll::Ready(batch) = self.poll_read(cx) {
                self.take(batch);
                continue;
            }
            if let Some(queueing) = &mut self.queueing
                && let Poll::Ready(answer) = queueing.as_mut().poll(cx)
            {
                self.queueing = None;
                self.due.push_back(answer);
                continue;
            }
            let answered = sent && self.due.is_empty() && self.queueing.is_none();
            if answered && let Reading::Over(ended) = &mut self.reading {
                return Poll::Ready(std::mem::replace(ended, Ok(())));
            }
            ready!(self.poll_timer(cx))?;
        }
    }

    /// Sends every answer whose time has come; whether all that was sent is read.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        loop {
            match self.outgoing.poll_sent(cx) {
                Poll::Ready(sent) => sent.map_err(gone)?,
                Poll::Pending => {
                    self.unread_since.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
            }
            self.unread_since = None;
            let message = match self.due.front_mut() {
                None => return Ok(true),
                Some(Answer::Now(_)) => None,
                Some(Answer::Later { outcome, .. }) => match Pin::new(outcome).poll(cx) {
                    Poll::Pending => return Ok(true),
                    Poll::Ready(outcome) => Some(outcome),
                },
            };
            let message = match (self.due.pop_front(), message) {
                (Some(Answer::Later { batch, t2, refused, .. }), Some(outcome)) => {
                    let outcome =
                        outcome.map_err(|_| Status::unavailable("not stored; send it again"))?;
                    self.agent.answer(batch, t2, refused, outcome)
                }
                (Some(Answer::Now(refusal)), _) => ToAgent::Refusal(*refusal),
                _ => return Ok(true),
            };
            if self.due.is_empty() {
                self.due = VecDeque::new();
            }
            let message = pb::CollectorMessage { message: Some(message) };
            self.outgoing.send(&message).map_err(gone)?;
        }
    }

    /// Reads a batch, if there is room for it and its time has come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Received<lazy::Batch>> {
        let room = self.queueing.is_none() && self.due.len() < PIPELINE;
        match self.reading {
            Reading::Since(_) if !room => self.reading = Reading::Blocked,
            Reading::Blocked if room => self.reading = Reading::Since(Instant::now()),
            Reading::PausedUntil(end) if Instant::now() >= end => {
                self.reading = Reading::Since(Instant::now());
                return self.poll_read(cx);
            }
            _ => {}
        }
        if !matches!(self.reading, Reading::Since(_)) {
            return Poll::Pending;
        }
        let ended = match ready!(self.incoming.poll_message::<lazy::AgentMessage>(cx)) {
            Ok(Some(Received { message, octets })) => match message.batch {
                Some(message) => return Poll::Ready(Received { message, octets }),
                None => {
                    Err(self.agent.refuse(Reason::Protocol, "after Hello only batches are taken"))
                }
            },
            Ok(None) => Ok(()),
            Err(broken) => Err(self.agent.broken(broken)),
        };
        self.reading = Reading::Over(ended);
        Poll::Pending
    }

    /// Refuses the batch, or gives what can be stored of it to the writer.
    fn take(&mut self, Received { message: wire, octets }: Received<lazy::Batch>) {
        let (now, received_at) = (Instant::now(), clock::now());
        let agent = &self.agent;
        agent.shared.metrics.batches.inc();
        self.reading = Reading::Since(now);
        let number = wire.batch;
        let refuse = |reason: Reason, detail: String, retry| {
            agent.count(reason, &detail);
            let reason = reason.word().to_owned();
            Answer::Now(Box::new(pb::Refusal { batch: number, reason, detail, retry }))
        };
        let first = wire.reports.first().map_or(0, |first| first.report.seq);
        let context =
            batch::Context { host: agent.key, boot: self.boot, max_batch: agent.shared.max_batch };
        if self
            .put_off
            .as_ref()
            .is_some_and(|before| before.boot == wire.boot_id && before.first < first)
        {
            let detail = "an earlier batch was put off; send that one first".to_owned();
            self.due.push_back(refuse(Reason::OverQuota, detail, true));
            self.reading = Reading::PausedUntil(now + QUOTA_PAUSE);
            return;
        }
        // An empty batch is work too.
        let work = wire.reports.len().clamp(1, context.max_batch as usize);
        if let Err(wait) = self.seat.take(work, now) {
            let detail = format!("more reports than the quota; send again in {wait:.1?}");
            self.due.push_back(refuse(Reason::OverQuota, detail, true));
            self.put_off = Some(Box::new(PutOff { boot: wire.boot_id, first }));
            self.reading = Reading::PausedUntil(now + QUOTA_PAUSE);
            return;
        }
        self.put_off = None;
        let checked = match batch::check(wire, context, received_at) {
            Ok(checked) => checked,
            Err(batch::Refused { reason, detail }) => {
                self.due.push_back(refuse(reason, detail, false));
                return;
            }
        };
        if checked.bad_witness {
            agent.count(Reason::BadWitness, "the stamps of an exchange contradict each other");
        }
        for report in &checked.refused {
            agent.count(report.reason, &format!("seq {}: {}", report.seq, report.detail));
        }
        let shared = agent.shared.clone();
        self.queueing = Some(Box::pin(async move {
            let outcome = shared.queues.put(checked.batch, octets).await;
            Answer::Later { batch: number, t2: received_at, refused: checked.refused, outcome }
        }));
    }

    /// When something is to happen although nothing comes, and nothing can be sent.
    fn deadline(&self) -> Option<Instant> {
        let idle = self.agent.shared.idle;
        let reading = match self.reading {
            Reading::Since(begin) => Some(begin + idle),
            Reading::PausedUntil(end) => Some(end),
            Reading::Blocked | Reading::Over(_) => None,
        };
        let sending = self.unread_since.map(|begin| begin + idle);
        reading.into_iter().chain(sending).min()
    }

    /// Ready when something has happened. The timer is not moved with every message: it runs to the end that
    /// was right when it began, and then on to the one that is right by then.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        if now < deadline {
            self.timer.as_mut().reset(deadline);
            ready!(self.timer.as_mut().poll(cx));
        }
        if self.unread_since.is_some_and(|begin| now >= begin + self.agent.shared.idle) {
            return Poll::Ready(Err(self.agent.refuse(Reason::SlowReader, "answers are not read")));
        }
        if let Reading::Since(begin) = self.reading
            && now >= begin + self.agent.shared.idle
        {
            self.reading = Reading::Over(Err(Status::aborted("nothing was sent for too long")));
        }
        Poll::Ready(Ok(()))
    }
}
