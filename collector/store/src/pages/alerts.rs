//! Alerts with their history and the fate of every message about them.

use uuid::Uuid;

use super::At;
use crate::Store;

/// An alert.
#[derive(Clone, Debug)]
pub struct AlertRow {
    /// Its number.
    pub alert_id: i64,
    /// drift, silent, token-skew, log-skew.
    pub rule: String,
    /// Name of the policy.
    pub policy: String,
    /// Worst answer while it was open.
    pub answer: String,
    /// Whether it is open.
    pub open: bool,
    /// What is, by how much.
    pub summary: String,
    /// What breaks.
    pub consequence: String,
    /// What to do.
    pub advice: String,
    /// The host it is about.
    pub host: Option<String>,
    /// Its identity.
    pub host_uuid: Option<Uuid>,
    /// The other host of a pair.
    pub peer: Option<String>,
    /// Its identity.
    pub peer_uuid: Option<Uuid>,
    /// Whether either is simulated.
    pub simulated: bool,
    /// The interval compared, least, ns.
    pub lo_ns: Option<i64>,
    /// Greatest, ns.
    pub hi_ns: Option<i64>,
    /// What it was compared with, ns.
    pub limit_ns: Option<i64>,
    /// When it opened.
    pub opened_at: At,
    /// When it last changed.
    pub changed_at: At,
    /// When it was resolved.
    pub resolved_at: Option<At>,
    /// Messages delivered.
    pub delivered: i64,
    /// Messages that wait for a first or a further attempt.
    pub pending: i64,
    /// Messages given up.
    pub parked: i64,
}

/// A change of an alert.
#[derive(Clone, Debug)]
pub struct TransitionRow {
    /// When.
    pub at: At,
    /// opened, worsened, eased, resolved.
    pub reason: String,
    /// Word of the answer since then.
    pub answer: String,
    /// What was, by how much.
    pub summary: String,
}

/// A message about a change, to one endpoint.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// Its id, which the receiver sees too.
    pub message_id: Uuid,
    /// Name of the endpoint.
    pub endpoint: String,
    /// The change it tells of.
    pub reason: String,
    /// pending, delivered, parked.
    pub status: String,
    /// Attempts so far.
    pub attempts: i32,
    /// When it was written.
    pub created_at: At,
    /// When it is tried next, if pending.
    pub next_attempt_at: At,
    /// When it was delivered or given up.
    pub finished_at: Option<At>,
}

/// One attempt to deliver a message.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// The message.
    pub message_id: Uuid,
    /// 1, 2, 3 …
    pub attempt: i32,
    /// When.
    pub at: At,
    /// HTTP status; null: no answer.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took, ms.
    pub duration_ms: i64,
}

/// Resolved alerts shown on the list.
const RESOLVED_SHOWN: i64 = 100;
/// Attempts shown on the page of an alert.
const ATTEMPTS_SHOWN: i64 = 500;

impl Store {
    /// Open alerts, worst first, then the newest resolved ones; or only the alert with one number.
    pub async fn alert_rows(&self, only: Option<i64>) -> Result<Vec<AlertRow>, sqlx::Error> {
        sqlx::query_as!(
            AlertRow,
            r#"
            SELECT a.alert_id AS "alert_id!", a.rule AS "rule!", a.policy AS "policy!",
                   a.answer AS "answer!", a.status = 'open' AS "open!",
                   a.summary AS "summary!", a.consequence AS "consequence!", a.advice AS "advice!",
                   h.name AS "host?", h.host_uuid AS "host_uuid?",
                   p.name AS "peer?", p.host_uuid AS "peer_uuid?",
                   coalesce(h.simulated, false) OR coalesce(p.simulated, false) AS "simulated!",
                   a.lo_ns AS "lo_ns?", a.hi_ns AS "hi_ns?", a.limit_ns AS "limit_ns?",
                   a.opened_at AS "opened_at!: At", a.changed_at AS "changed_at!: At",
                   a.resolved_at AS "resolved_at?: At",
                   m.delivered AS "delivered!", m.pending AS "pending!", m.parked AS "parked!"
            FROM (SELECT * FROM store.alert
                  WHERE CASE WHEN $1::int8 IS NULL THEN status = 'open' ELSE alert_id = $1 END
                  UNION ALL
                  (SELECT * FROM store.alert WHERE $1::int8 IS NULL AND status = 'resolved'
                   ORDER BY opened_at DESC LIMIT $2)) a
            LEFT JOIN store.host h ON h.host_id = a.host_id
            LEFT JOIN store.host p ON p.host_id = a.peer_id
            CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE o.status = 'delivered') AS delivered,
                       count(*) FILTER (WHERE o.status = 'pending') AS pending,
                       count(*) FILTER (WHERE o.status = 'parked') AS parked
                FROM store.alert_transition t JOIN store.outbox o USING (transition_id)
                WHERE t.alert_id = a.alert_id) m
            ORDER BY a.status = 'open' DESC,
                     CASE WHEN a.status = 'open' THEN
                       CASE a.answer WHEN 'certain' THEN 0 WHEN 'possible' THEN 1
                                     WHEN 'unknown' THEN 2 ELSE 3 END END,
                     coalesce(a.resolved_at, a.opened_at) DESC, a.alert_id DESC
            "#,
            only,
            RESOLVED_SHOWN
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Every change of an alert, oldest first.
    pub async fn alert_transitions(&self, alert: i64) -> Result<Vec<TransitionRow>, sqlx::Error> {
        sqlx::query_as!(
            TransitionRow,
            r#"
            SELECT at AS "at: At", reason, answer, summary FROM store.alert_transition
            WHERE alert_id = $1 ORDER BY transition_id
            "#,
            alert
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Every message about an alert, oldest first.
    pub async fn alert_messages(&self, alert: i64) -> Result<Vec<MessageRow>, sqlx::Error> {
        sqlx::query_as!(
            MessageRow,
            r#"
            SELECT o.message_id AS "message_id!", o.endpoint AS "endpoint!", t.reason AS "reason!",
                   o.status AS "status!", o.attempts AS "attempts!", o.created_at AS "created_at!: At",
                   o.next_attempt_at AS "next_attempt_at!: At",
                   o.finished_at AS "finished_at?: At"
            FROM store.outbox o JOIN store.alert_transition t USING (transition_id)
            WHERE t.alert_id = $1 ORDER BY t.transition_id, o.endpoint
            "#,
            alert
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The newest attempts to deliver messages about an alert, oldest first.
    pub async fn alert_attempts(&self, alert: i64) -> Result<Vec<AttemptRow>, sqlx::Error> {
        let mut attempts = sqlx::query_as!(
            AttemptRow,
            r#"
            SELECT d.message_id AS "message_id!", d.attempt AS "attempt!", d.at AS "at!: At",
                   d.http_status AS "http_status?", d.error AS "error?", d.duration_ms AS "duration_ms!"
            FROM store.delivery_attempt d
            JOIN store.outbox o USING (message_id)
            JOIN store.alert_transition t USING (transition_id)
            WHERE t.alert_id = $1 ORDER BY d.at DESC, d.attempt DESC LIMIT $2
            "#,
            alert,
            ATTEMPTS_SHOWN
        )
        .fetch_all(&self.pool)
        .await?;
        attempts.reverse();
        Ok(attempts)
    }

    /// How many alerts are open.
    pub async fn open_alerts(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM store.alert WHERE status = 'open'"#)
            .fetch_one(&self.pool)
            .await
    }
}
