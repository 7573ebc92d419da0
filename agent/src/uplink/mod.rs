//! The way of reports to the collector: enrolment, one session after the other, acknowledgements.
//!
//! One [`Uplink`] serves one host; many can share one channel. Delivery is at least once, and the
//! collector makes it exactly once by (host, boot, seq). What it is not: a queue. Reports stay in the
//! [`Backlog`] until the collector has committed them.

mod backlog;
mod backoff;
mod credential;
mod endpoint;
mod metrics;
mod session;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use fleet_proto::RETRY_AFTER_MS;
use fleet_proto::pb;
use fleet_proto::pb::ingest_client::IngestClient;
use thiserror::Error;
use timebase::{BootId, Host, HostId, Raw, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tracing::{error, info, warn};

pub use backlog::{Backlog, PendingBatch};
pub use backoff::Backoff;
pub use credential::{Credentials, MemoryCredentials, Secret};
pub use endpoint::{EndpointError, collector_endpoint};
pub use metrics::UplinkMetrics;

/// Waits between attempts: from one second, doubling to a minute.
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// Wait after being told that we may not come in: only a person can change that.
const RETRY_DENIED: Duration = Duration::from_secs(60);
/// Longest wait between two looks for a join token that is not there yet.
const RETRY_TOKEN: Duration = Duration::from_secs(5);
/// Longest wait for the answer to an enrolment.
const ENROL_TIMEOUT: Duration = Duration::from_secs(15);

/// Who reports: fixed for the life of an uplink.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The host.
    pub host: HostId,
    /// The boot the host runs in.
    pub boot: BootId,
    /// What the host says of itself.
    pub info: pb::HostInfo,
}

/// Both clocks of the host now, for the witness stamps.
pub type Clocks = Arc<dyn Fn() -> (Timestamp<Host>, Timestamp<Raw>) + Send + Sync>;

/// How things stand with the collector, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkState {
    /// No session; the text says why, or that none was tried yet.
    Down(String),
    /// A session is open.
    Connected,
    /// Everything was delivered, and the connection closed until the next burst.
    Resting,
    /// The collector lets this host not in; the text is its reason.
    Denied(String),
}

/// Sends one host's reports to the collector.
pub struct Uplink<B, C> {
    /// Who reports.
    pub reporter: Reporter,
    /// The connection; may be shared with other uplinks.
    pub channel: Channel,
    /// Where reports wait.
    pub backlog: B,
    /// Told whenever the backlog grew.
    pub grown: Arc<Notify>,
    /// Where the credential is kept.
    pub credentials: C,
    /// The host's clocks.
    pub clocks: Clocks,
    /// What is counted.
    pub metrics: UplinkMetrics,
    /// Where the state is shown.
    pub state: watch::Sender<UplinkState>,
}

/// How an uplink that is not always connected comes and goes.
#[derive(Clone, Debug)]
pub struct Burst {
    /// The collector: each burst has a connection of its own.
    pub endpoint: Endpoint,
    /// The longest rest between two bursts.
    pub every: Duration,
}

impl Burst {
    /// The rest until the next burst: up to a quarter shorter, so that a fleet does not come all at once.
    fn rest(&self, random: u32) -> Duration {
        self.every - self.every.mul_f64(0.25 * f64::from(random) / f64::from(u32::MAX))
    }
}

/// Why a session ended, or did not begin.
#[derive(Debug, Error)]
pub enum UplinkError {
    /// The collector answered with an error, or there was no connection.
    #[error("{}", describe(.0))]
    Rpc(#[from] Status),
    /// The collector closed the session.
    #[error("the collector closed the session")]
    Closed,
    /// No answer in time.
    #[error("no {0} from the collector within {1:?}")]
    Silent(&'static str, Duration),
    /// The collector broke the protocol.
    #[error("the collector broke the protocol: {0}")]
    Protocol(&'static str),
    /// There is no credential, and no join token to get one with.
    #[error("this host has not enrolled and no join token is given (join-token-file)")]
    NoJoinToken,
    /// The credential file or join token file cannot be used.
    #[error("credential: {0}")]
    Credential(#[from] std::io::Error),
}

impl UplinkError {
    /// When the collector told us to come back.
    fn told(&self) -> Option<Duration> {
        let Self::Rpc(status) = self else { return None };
        let text = status.metadata().get(RETRY_AFTER_MS)?.to_str().ok()?;
        text.parse().ok().map(Duration::from_millis)
    }

    /// Whether only a person can change the outcome.
    fn is_denial(&self) -> bool {
        match self {
            Self::Rpc(status) => {
                use Code::{AlreadyExists, PermissionDenied, Unauthenticated};
                matches!(status.code(), Unauthenticated | PermissionDenied | AlreadyExists)
            }
            Self::NoJoinToken => true,
            _ => false,
        }
    }
}

fn describe(status: &Status) -> String {
    match status.code() {
        Code::Unavailable => format!("the collector is not reachable ({})", cause(status)),
        Code::Unauthenticated | Code::PermissionDenied => {
            format!(
                "the collector does not let this host in: {} (to enrol again, give a new join token \
                 and remove the file `credential` from the state directory)",
                status.message()
            )
        }
        Code::AlreadyExists => format!(
            "this host has enrolled before, but its credential is gone from the state directory: \
             revoke the host at the collector, then it enrols again ({})",
            status.message()
        ),
        code => format!("the collector answered {code:?}: {}", status.message()),
    }
}

/// The innermost reason: "connection refused" rather than "transport error".
fn cause(status: &Status) -> String {
    let mut cause: &dyn Error = status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if std::ptr::addr_eq(cause, status) { status.message().to_owned() } else { cause.to_string() }
}

impl<B: Backlog, C: Credentials> Uplink<B, C> {
    /// Runs until `stop`; then sends what is left for as long as `drain` allows, if connected.
    pub async fn run(self, stop: CancellationToken, drain: Duration) {
        self.work(None, stop, drain).await;
    }

    /// As [`run`](Self::run), but leaves when everything is delivered, and comes back at the latest after the
    /// burst's `every`.
    pub async fn run_in_bursts(self, burst: Burst, stop: CancellationToken, drain: Duration) {
        self.work(Some(burst), stop, drain).await;
    }

    async fn work(mut self, burst: Option<Burst>, stop: CancellationToken, drain: Duration) {
        let mut backoff = Backoff::new(RETRY_LEAST, RETRY_MOST);
        let random = SystemRandom::new();
        while !stop.is_cancelled() {
            let ended = self.once(burst.is_some(), &stop, drain, &mut backoff).await;
            self.metrics.connected.set(0);
            let wait = match (ended, &burst) {
                (Err(error), _) => {
                    self.metrics.failures.inc();
                    self.show(&error);
                    wait_after(&error, &mut backoff, random_u32(&random))
                }
                (Ok(()), Some(burst)) => {
                    // The old connection closes with its last user; the new one waits to be used.
                    self.channel = burst.endpoint.connect_lazy();
                    self.state.send_replace(UplinkState::Resting);
                    burst.rest(random_u32(&random))
                }
                (Ok(()), None) => break,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.state.send_replace(UplinkState::Down("stopped".to_owned()));
    }

    /// One attempt: enrols if needed, then holds a session until it ends. `Ok` after `stop`, or when
    /// everything is delivered and the uplink was to `leave` then.
    async fn once(
        &mut self,
        leave: bool,
        stop: &CancellationToken,
        drain: Duration,
        backoff: &mut Backoff,
    ) -> Result<(), UplinkError> {
        let credential = match self.credentials.credential()? {
            Some(credential) => credential,
            None => tokio::select! {
                () = stop.cancelled() => return Ok(()),
                enrolled = self.enrol() => enrolled?,
            },
        };
        self.session(credential, leave, stop, drain, backoff).await
    }

    async fn enrol(&mut self) -> Result<Secret, UplinkError> {
        let join_token = self.credentials.join_token()?.ok_or(UplinkError::NoJoinToken)?;
        let request = pb::EnrolRequest {
            join_token: join_token.expose().to_owned(),
            host_id: self.reporter.host.as_bytes().to_vec(),
            host: Some(self.reporter.info.clone()),
        };
        let reply = tokio::time::timeout(
            ENROL_TIMEOUT,
            IngestClient::new(self.channel.clone()).enrol(request),
        )
        .await
        .map_err(|_| UplinkError::Silent("enrolment", ENROL_TIMEOUT))??;
        let credential = Secret::new(&reply.into_inner().credential);
        if credential.expose().is_empty() {
            return Err(UplinkError::Protocol("enrolment gave no credential"));
        }
        if let Err(failure) = self.credentials.keep(&credential) {
            error!(host.id = %self.reporter.host,
                "cannot keep the credential ({failure}): after a restart this host has to be revoked \
                 at the collector and enrolled again");
        }
        info!(host.id = %self.reporter.host, host.name = self.reporter.info.name,
            "enrolled with the collector as {}", self.reporter.info.name);
        Ok(credential)
    }

    /// Logs a failure once per kind, not once per attempt.
    fn show(&self, error: &UplinkError) {
        let text = error.to_string();
        let state = if error.is_denial() {
            UplinkState::Denied(text.clone())
        } else {
            UplinkState::Down(text.clone())
        };
        if self.state.send_replace(state.clone()) != state {
            warn!(host.id = %self.reporter.host, host.name = self.reporter.info.name,
                "no session with the collector: {text}; reports are kept and it is tried again");
        }
    }
}

/// How long to wait after a failure.
fn wait_after(error: &UplinkError, backoff: &mut Backoff, random: u32) -> Duration {
    if let Some(told) = error.told() {
        return backoff::told(told, random);
    }
    let wait = backoff.next(random);
    // A missing token is looked for again soon: that costs the collector nothing.
    match error {
        UplinkError::Rpc(_) if error.is_denial() => RETRY_DENIED.max(wait),
        UplinkError::NoJoinToken => wait.min(RETRY_TOKEN),
        _ => wait,
    }
}

fn random_u32(random: &SystemRandom) -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the jitter is lost, nothing else.
    let _ = random.fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    fn unavailable(told: Option<&str>) -> UplinkError {
        let mut metadata = MetadataMap::new();
        if let Some(text) = told {
            metadata.insert(RETRY_AFTER_MS, text.parse().unwrap());
        }
        UplinkError::Rpc(Status::with_metadata(Code::Unavailable, "busy", metadata))
    }

    /// Proves that an agent which is told when to come back does, and that one which is not, or is told
    /// nonsense, goes by its own back-off.
    #[test]
    fn the_collector_may_say_when() {
        let mut backoff = Backoff::new(RETRY_LEAST, RETRY_MOST);
        let mut wait = |error: &UplinkError| wait_after(error, &mut backoff, 0);
        assert_eq!(wait(&unavailable(Some("20000"))), Duration::from_secs(20));
        assert_eq!(wait(&unavailable(Some("250"))), Duration::from_millis(250));
        assert_eq!(wait(&unavailable(None)), Duration::from_millis(500), "the first of its own");
        assert_eq!(wait(&unavailable(Some("soon"))), Duration::from_secs(1));
    }
}
