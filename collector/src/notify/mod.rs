//! The notify role: claim → write → sign → post → delivered, again later, or parked.

mod endpoint;
pub mod format;
mod guard;
mod metrics;
mod retry;
mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use store::Store;
use store::outbox::{Attempt, Message, Outcome};
use timebase::{Span, Timestamp, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use endpoint::Endpoint;

pub use metrics::Metrics;

/// How often the outbox is looked at while it is empty.
const POLL: Duration = Duration::from_secs(1);
/// How long to wait for a database that does not answer.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Messages in flight at once: enough that a slow receiver does not hold up the others for long.
const AT_ONCE: i64 = 16;
/// A claim outlives the slowest attempt; after a crash the message falls due again this late.
const LEASE: Span = Span::from_secs(30);
/// The beginning of a receiver's complaint is kept; more would fill the table.
const ERROR_CHARS: usize = 300;

type Endpoints = BTreeMap<String, Endpoint>;

/// Delivers until `stop`; waits out a lost database. What is in flight at `stop` is finished.
///
/// # Errors
/// An endpoint's settings or secret cannot be used.
pub async fn run(
    store: Store,
    config: Arc<Config>,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let endpoints = Arc::new(endpoints(&config)?);
    while !stop.is_cancelled() {
        let pause = match deliver_due(&store, &endpoints, &metrics).await {
            Ok(0) => POLL,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot deliver alerts, the database does not answer");
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// Whether every endpoint can be used.
///
/// # Errors
/// One cannot: its URL, its secret, its name. The message says which and why.
pub fn check(config: &Config) -> anyhow::Result<()> {
    endpoints(config).map(drop)
}

fn endpoints(config: &Config) -> anyhow::Result<Endpoints> {
    let mut endpoints = Endpoints::new();
    for webhook in &config.webhook {
        let endpoint = Endpoint::new(webhook)?;
        let twice = endpoints.insert(endpoint.name.clone(), endpoint);
        ensure!(twice.is_none(), "[[webhook]]: two are called {:?}", webhook.name);
    }
    Ok(endpoints)
}

/// Delivers what is due; how many messages that were.
async fn deliver_due(
    store: &Store,
    endpoints: &Arc<Endpoints>,
    metrics: &Metrics,
) -> Result<usize, sqlx::Error> {
    let names: Vec<String> = endpoints.keys().cloned().collect();
    let messages = store.claim_messages(&names, clock::now(), LEASE, AT_ONCE).await?;
    let claimed = messages.len();
    let mut in_flight = JoinSet::new();
    for message in messages {
        let endpoints = endpoints.clone();
        in_flight.spawn(async move {
            let attempt = attempt(endpoints.get(&message.endpoint), &message).await;
            (message, attempt)
        });
    }
    while let Some(done) = in_flight.join_next().await {
        // A task that panicked leaves its claim to run out, as a crash would.
        let Ok((message, attempt)) = done else { continue };
        tell(&message, &attempt, metrics);
        store.record_attempt(&message, &attempt).await?;
    }
    metrics.pending.set(store.pending_messages().await?);
    Ok(claimed)
}

async fn attempt(endpoint: Option<&Endpoint>, message: &Message) -> Attempt {
    let at = clock::now();
    let (endpoint, notice) = match (endpoint, &message.notice) {
        (Some(endpoint), Ok(notice)) => (endpoint, notice),
        (None, _) => return hopeless(at, "the endpoint is not in the configuration".to_owned()),
        (_, Err(error)) => return hopeless(at, format!("the message cannot be read: {error}")),
    };
    let answer = endpoint.post(message.id, notice, at.as_ns() / Span::SECOND.as_ns()).await;
    let (status, after, error) = match answer {
        Ok(response) => {
            let status = response.status();
            let after = retry_after(response.headers());
            let error = (!status.is_success()).then(|| format!("answered {status}"));
            (Some(status.as_u16()), after, error)
        }
        // Without the URL, which may hold a token of the receiver.
        Err(error) => (None, None, Some(reasons(&error.without_url()))),
    };
    let now = clock::now();
    Attempt {
        at,
        duration: (now - at).max(Span::ZERO),
        http_status: status,
        error,
        outcome: retry::outcome(status, after, message.id, message.attempt, now),
    }
}

/// A message that nothing can be done with but show it.
fn hopeless(at: Timestamp<Utc>, error: String) -> Attempt {
    let (duration, outcome) = (Span::ZERO, Outcome::Parked);
    Attempt { at, duration, http_status: None, error: Some(error), outcome }
}

/// The seconds of `Retry-After`; its other form, a date, is rare and not worth trusting a clock for.
fn retry_after(headers: &HeaderMap) -> Option<Span> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Span::from_secs(seconds.into()))
}

/// The error with its causes: "error sending request: connection refused".
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text.chars().take(ERROR_CHARS).collect()
}

fn tell(message: &Message, attempt: &Attempt, metrics: &Metrics) {
    let (id, endpoint, n) = (message.id, &message.endpoint, message.attempt);
    let error = attempt.error.as_deref().unwrap_or_default();
    match attempt.outcome {
        Outcome::Delivered => {
            metrics.count(endpoint, "delivered");
            let key = message.notice.as_ref().map_or("", |notice| &notice.key);
            tracing::info!(message.id = %id, alert.key = key, "alert {key} told to {endpoint}");
        }
        Outcome::Retry(_) => {
            metrics.count(endpoint, "retried");
            tracing::warn!(message.id = %id, "attempt {n} to reach {endpoint} failed: {error}");
        }
        Outcome::Parked => {
            metrics.count(endpoint, "parked");
            tracing::error!(message.id = %id, "gave up telling {endpoint} after attempt {n}: {error}");
        }
    }
}
