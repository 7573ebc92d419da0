//! The agent at the other end of a session: its hello, and the words in which it is answered and refused.

use std::sync::Arc;
use std::time::Duration;

use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as FromAgent;
use fleet_proto::pb::collector_message::Message as ToAgent;
use store::Store;
use store::hosts::KnownHost;
use timebase::{BootId, HostId, Timestamp, Utc};
use tonic::Status;

use super::batch::RefusedReport;
use super::grpc::{Broken, Gone, Incoming, Outgoing};
use super::identity;
use super::refusals::Refusals;
use super::sessions::Cut;
use super::writer::{Outcome, Queues};
use super::{Metrics, Reason};
use crate::clock;

/// A client that opens a stream and says nothing is not an agent.
pub(super) const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// What every session of this process shares.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) queues: Queues,
    pub(super) refusals: Refusals,
    pub(super) metrics: Metrics,
    pub(super) max_batch: u32,
    pub(super) idle: Duration,
}

/// Whose a session is, and what it shares with the others.
pub(super) struct Agent {
    pub(super) shared: Arc<Shared>,
    pub(super) key: i64,
    pub(super) id: HostId,
    pub(super) name: Box<str>,
}

impl Agent {
    /// The first message: who speaks, of which boot.
    pub(super) async fn hello(
        &self,
        known: KnownHost,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
    ) -> Result<BootId, Status> {
        let first = tokio::time::timeout(HELLO_LIMIT, incoming.message::<pb::AgentMessage>()).await;
        let first = first.map_err(|_| self.refuse(Reason::Protocol, "no Hello came"))?;
        let message = first.map_err(|broken| self.broken(broken))?.and_then(|m| m.message);
        let Some(FromAgent::Hello(hello)) = message else {
            return Err(self.refuse(Reason::Protocol, "the first message must be Hello"));
        };
        if hello.host_id != self.id.as_bytes() {
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
        let welcome = ToAgent::Welcome(pb::Welcome {
            last_seq: last.map(|seq| seq.0),
            max_batch: shared.max_batch,
            collector_version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        tracing::debug!(host.id = %self.id, host.name = info.name, "session of {}", info.name);
        outgoing.send(&pb::CollectorMessage { message: Some(welcome) }).map_err(gone)?;
        let sent = tokio::time::timeout(shared.idle, outgoing.sent()).await;
        sent.map_err(|_| self.refuse(Reason::SlowReader, "answers are not read"))?.map_err(gone)?;
        Ok(boot)
    }

    pub(super) fn answer(
        &self,
        batch: u64,
        t2: Timestamp<Utc>,
        refused: Vec<RefusedReport>,
        outcome: Outcome,
    ) -> ToAgent {
        match outcome {
            Outcome::Stored(stored) => ToAgent::Ack(pb::Ack {
                batch,
                seq: stored.last_seq.0,
                t2_ns: t2.as_ns(),
                t3_ns: clock::now().as_ns(),
                refused: refused.into_iter().map(report_refusal).collect(),
            }),
            Outcome::Unstorable => {
                let detail = "the database refuses its rows".to_owned();
                self.count(Reason::Unstorable, &detail);
                let reason = Reason::Unstorable.word().to_owned();
                ToAgent::Refusal(pb::Refusal { batch, reason, detail, retry: false })
            }
        }
    }

    /// The end of a session that is cut off.
    pub(super) fn cut(&self, cut: Cut) -> Status {
        match cut {
            Cut::Stopping => Status::unavailable("the collector is stopping"),
            Cut::Superseded => Status::aborted("this host has opened newer sessions"),
            Cut::Revoked => self.refuse(Reason::Revoked, "the credential was revoked"),
        }
    }

    /// Counts a message that could not be read; a connection that merely broke is nobody's fault.
    pub(super) fn broken(&self, broken: Broken) -> Status {
        match broken {
            Broken::TooLarge(why) => self.refuse(Reason::BatchTooLarge, &why),
            Broken::Malformed(why) => self.refuse(Reason::Malformed, &why),
            Broken::HungUp => Status::cancelled("the agent hung up"),
        }
    }

    /// Counts a reason for which the session ends.
    pub(super) fn refuse(&self, reason: Reason, detail: &str) -> Status {
        self.count(reason, detail);
        let text = format!("{}: {detail}", reason.word());
        match reason {
            Reason::WrongHost => Status::permission_denied(text),
            Reason::Revoked => Status::unauthenticated(text),
            Reason::SlowReader => Status::aborted(text),
            Reason::BatchTooLarge => Status::out_of_range(text),
            _ => Status::invalid_argument(text),
        }
    }

    pub(super) fn count(&self, reason: Reason, detail: &str) {
        tracing::debug!(
            host.id = %self.id, host.name = &*self.name, reason = reason.word(),
            "refused: {detail}"
        );
        self.shared.refusals.count(self.key, reason, detail);
    }

    pub(super) fn tell_end(&self, ended: &Result<(), Status>) {
        let (id, name) = (self.id, &*self.name);
        match ended {
            Ok(()) => tracing::debug!(host.id = %id, host.name = name, "session of {name} ended"),
            Err(status) => tracing::info!(
                host.id = %id, host.name = name, code = ?status.code(),
                "session of {name} ended: {}", status.message()
            ),
        }
    }
}

pub(super) fn gone(_: Gone) -> Status {
    Status::cancelled("the agent has gone")
}

fn report_refusal(refused: RefusedReport) -> pb::ReportRefusal {
    pb::ReportRefusal { seq: refused.seq, reason: refused.reason.word().to_owned() }
}
