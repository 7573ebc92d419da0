//! Who calls. Whoever can reach the port can ask, so a question must cost those who are known nothing:
//! a text that is no secret of ours is refused unread, and [`Strangers`] leaves the database to others.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_proto::convert::{self, MAX_LABELS, Refusal};
use fleet_proto::pb;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use store::Store;
use store::hosts::{Enrolment, HostInfo, KnownHost};
use timebase::HostId;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

use super::Metrics;
use super::admission::{Admission, come_back};
use crate::config::ingest::Ingest;
use crate::{clock, secret};

/// Most database connections in use for callers not yet known: a part of the pool that the writer shares.
const MOST_STRANGERS: usize = 4;
/// A caller waits so long for its turn, as long as for a connection.
const STRANGER_WAIT: Duration = Duration::from_secs(5);

/// The turns of callers not yet known.
#[derive(Debug)]
pub(super) struct Strangers {
    admission: Admission,
    turns: Semaphore,
    metrics: Metrics,
}

impl Strangers {
    pub(super) fn new(config: &Ingest, metrics: Metrics) -> Self {
        let turns = Semaphore::new(MOST_STRANGERS);
        Self { admission: Admission::new(config), turns, metrics }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        let sent_away = |status| {
            self.metrics.sent_away.inc();
            status
        };
        self.admission.ask().map_err(sent_away)?;
        let turn = tokio::time::timeout(STRANGER_WAIT, self.turns.acquire()).await;
        let turn = turn.map_err(|_| sent_away(come_back(STRANGER_WAIT)))?;
        Ok(turn.expect("invariant: the semaphore is never closed"))
    }
}

/// The host that a call's credential belongs to.
pub(super) async fn host_of(
    store: &Store,
    strangers: &Strangers,
    metrics: &Metrics,
    head: &HeaderMap,
) -> Result<KnownHost, Status> {
    let refused = |why: &str| {
        metrics.unauthenticated.inc();
        Status::unauthenticated(why)
    };
    let header = head.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = header
        .and_then(|text| text.strip_prefix("Bearer "))
        .ok_or_else(|| refused("authorization: Bearer <credential> is missing; enrol first"))?;
    if !secret::is_formed(secret::Kind::HostCredential, credential) {
        return Err(refused("unknown credential; enrol again"));
    }
    let _turn = strangers.turn().await?;
    match store.host_of_credential(&secret::hash(credential)).await {
        Ok(Some(host)) => Ok(host),
        Ok(None) => Err(refused("unknown credential; enrol again")),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Trades a join token for a credential.
pub(super) async fn enrol(
    store: &Store,
    strangers: &Strangers,
    metrics: &Metrics,
    request: pb::EnrolRequest,
) -> Result<pb::EnrolReply, Status> {
    let malformed = |refusal: Refusal| Status::invalid_argument(refusal.to_string());
    let refused = || {
        metrics.unauthenticated.inc();
        Status::unauthenticated("the join token is unknown, expired, used up or revoked")
    };
    if !secret::is_formed(secret::Kind::JoinToken, &request.join_token) {
        return Err(refused());
    }
    let id = convert::id16(&request.host_id, "host_id").map_err(malformed)?;
    let info = host_info(request.host.unwrap_or_default()).map_err(malformed)?;
    let credential = secret::generate(secret::Kind::HostCredential)
        .map_err(|error| Status::internal(error.to_string()))?;
    let (id, now) = (HostId::from_bytes(id), clock::now());
    let (token, hash) = (secret::hash(&request.join_token), secret::hash(&credential));
    let _turn = strangers.turn().await?;
    let enrolment = store.enrol(&token, &hash, id, &info, now).await;
    match enrolment.map_err(|error| unavailable(&error))? {
        Enrolment::Accepted => {
            metrics.enrolled.inc();
            tracing::info!(host.id = %id, host.name = info.name, "host {} enrolled", info.name);
            Ok(pb::EnrolReply { credential })
        }
        Enrolment::TokenRefused => Err(refused()),
        Enrolment::HostExists => {
            metrics.unauthenticated.inc();
            tracing::warn!(host.id = %id, host.name = info.name, "enrolment of a known host refused");
            Err(Status::already_exists(format!(
                "host {id} is enrolled and its credential in use; a join token does not take it \
                 over. If the credential is lost, run `truechimer host revoke {id}` and enrol again"
            )))
        }
    }
}

/// What a host says of itself, within limits.
pub(super) fn host_info(wire: pb::HostInfo) -> Result<HostInfo, Refusal> {
    if wire.labels.len() > MAX_LABELS {
        return Err(Refusal::TooMany("labels", MAX_LABELS));
    }
    let mut labels = BTreeMap::new();
    for (key, value) in wire.labels {
        labels.insert(convert::name(key, "label")?, convert::name(value, "label value")?);
    }
    if wire.name.trim().is_empty() {
        return Err(Refusal::Missing("host name"));
    }
    Ok(HostInfo {
        name: convert::name(wire.name, "host name")?,
        service: convert::name(wire.service, "service")?,
        labels,
        agent_version: convert::name(wire.agent_version, "agent version")?,
        simulated: wire.simulated,
    })
}

/// The database's words stay in the log: a client has no use for them.
pub(super) fn unavailable(error: &sqlx::Error) -> Status {
    tracing::warn!(%error, "the database does not answer");
    Status::unavailable("the collector's database does not answer; try again")
}
