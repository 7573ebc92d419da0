//! Messages to be delivered: written with the alert's change, claimed, tried, delivered or parked.
//!
//! At least once: a claim only puts the next attempt off, so that what a crash leaves undone falls due
//! again. The message id is the receiver's key to tell a repetition.

use serde::{Deserialize, Serialize};
use timebase::{Span, Timestamp, Utc};
use uuid::Uuid;

use crate::{Store, time};

/// Another collector may know an endpoint that this one does not, for example while a configuration is
/// rolled out; after so long nobody does.
const ORPHANED: Span = Span::from_secs(86_400);

/// What an alert's change says to the outside, whatever the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Number of the alert.
    pub alert_id: i64,
    /// opened, worsened, eased, resolved.
    pub reason: String,
    /// When it changed, ns since 1970 UTC.
    pub at_ns: i64,
    /// When it opened, ns since 1970 UTC.
    pub opened_at_ns: i64,
    /// `rule:policy:subject`.
    pub key: String,
    /// drift, silent, token-skew, log-skew.
    pub rule: String,
    /// Name of the policy.
    pub policy: String,
    /// How sure it is now.
    pub answer: String,
    /// The host it is about.
    pub host: Option<String>,
    /// That host's service.
    pub service: Option<String>,
    /// The other host of a pair.
    pub peer: Option<String>,
    /// Whether the host is simulated.
    pub simulated: bool,
    /// What is, by how much.
    pub summary: String,
    /// What breaks.
    pub consequence: String,
    /// What to do.
    pub advice: String,
    /// Lower end of the interval compared.
    pub lo_ns: Option<i64>,
    /// Upper end of the interval compared.
    pub hi_ns: Option<i64>,
    /// The limit it was compared with.
    pub limit_ns: Option<i64>,
}

/// A claimed message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The receiver's idempotency key.
    pub id: Uuid,
    /// Name of the endpoint in the configuration.
    pub endpoint: String,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// What to tell; an error if a later version wrote what this one cannot read.
    pub notice: Result<Notice, String>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Try again at this time.
    Retry(Timestamp<Utc>),
    /// Given up; a person has to look.
    Parked,
}

/// One attempt to deliver.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp<Utc>,
    /// How long it took.
    pub duration: Span,
    /// What the receiver answered; `None`: nothing.
    pub http_status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// What follows.
    pub outcome: Outcome,
}

impl Store {
    /// Claims up to `limit` messages that are due, for as long as `lease`: those to `endpoints`, and
    /// those that waited a day for an endpoint which nobody has any more.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn claim_messages(
        &self,
        endpoints: &[String],
        now: Timestamp<Utc>,
        lease: Span,
        limit: i64,
    ) -> Result<Vec<Message>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"UPDATE store.outbox SET attempts = attempts + 1, next_attempt_at = $2
               WHERE message_id IN (
                   SELECT message_id FROM store.outbox
                   WHERE status = 'pending' AND next_attempt_at <= $1
                     AND (endpoint = ANY($4) OR created_at < $5)
                   ORDER BY next_attempt_at LIMIT $3
                   FOR UPDATE SKIP LOCKED)
               RETURNING message_id, endpoint, attempts, payload"#,
            time::to_sql(now) as _,
            time::to_sql(now + lease) as _,
            limit,
            endpoints,
            time::to_sql(now - ORPHANED) as _
        )
        .fetch_all(&self.pool)
        .await?;
        let messages = rows.into_iter().map(|row| Message {
            id: row.message_id,
            endpoint: row.endpoint,
            attempt: row.attempts,
            notice: serde_json::from_value(row.payload).map_err(|error| error.to_string()),
        });
        Ok(messages.collect())
    }

    /// Keeps what became of an attempt and what follows. A message that somebody else has claimed since
    /// is left to them.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn record_attempt(
        &self,
        message: &Message,
        attempt: &Attempt,
    ) -> Result<(), sqlx::Error> {
        let (status, next) = match attempt.outcome {
            Outcome::Delivered => ("delivered", None),
            Outcome::Parked => ("parked", None),
            Outcome::Retry(at) => ("pending", Some(at)),
        };
        let finished = next.is_none().then(|| attempt.at + attempt.duration);
        let mut tx = self.pool.begin().await?;
        sqlx::query!(
            "INSERT INTO store.delivery_attempt
                 (message_id, attempt, at, http_status, error, duration_ms)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (message_id, attempt) DO NOTHING",
            message.id,
            message.attempt,
            time::to_sql(attempt.at) as _,
            attempt.http_status.map(i32::from),
            attempt.error,
            attempt.duration.as_ns() / Span::MILLISECOND.as_ns()
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE store.outbox
             SET status = $3, next_attempt_at = coalesce($4, next_attempt_at), finished_at = $5
             WHERE message_id = $1 AND attempts = $2 AND status = 'pending'",
            message.id,
            message.attempt,
            status,
            next.map(time::to_sql) as _,
            finished.map(time::to_sql) as _
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("SELECT pg_notify('truechimer', 'alerts')").execute(&mut *tx).await?;
        tx.commit().await
    }

    /// How many messages wait to be delivered.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn pending_messages(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM store.outbox WHERE status = 'pending'"#
        )
        .fetch_one(&self.pool)
        .await
    }
}
