//! Findings of the rules, for the risks page and for the page of a host.

use uuid::Uuid;

use super::At;
use crate::Store;

/// What a rule finds now.
#[derive(Clone, Debug)]
pub struct FindingRow {
    /// `rule:policy:subject`.
    pub finding_key: String,
    /// drift, silent, token-skew, log-skew.
    pub rule: String,
    /// Name of the policy.
    pub policy: String,
    /// Word of the answer.
    pub answer: String,
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
    /// Named facts, a JSON object.
    pub evidence: serde_json::Value,
    /// Since when the answer has been this one.
    pub since: At,
    /// When the rule last looked.
    pub seen_at: At,
}

impl Store {
    /// Findings of the pair policies, worst first; of one host (as either of the pair, drift and
    /// silence included) if `host_uuid` is given.
    pub async fn findings(&self, host_uuid: Option<Uuid>) -> Result<Vec<FindingRow>, sqlx::Error> {
        sqlx::query_as!(
            FindingRow,
            r#"
            SELECT f.finding_key AS "finding_key!", f.rule AS "rule!", f.policy AS "policy!", f.answer AS "answer!",
                   f.summary AS "summary!", f.consequence AS "consequence!", f.advice AS "advice!",
                   h.name AS "host?", h.host_uuid AS "host_uuid?",
                   p.name AS "peer?", p.host_uuid AS "peer_uuid?",
                   coalesce(h.simulated, false) OR coalesce(p.simulated, false) AS "simulated!",
                   f.lo_ns AS "lo_ns?", f.hi_ns AS "hi_ns?", f.limit_ns AS "limit_ns?",
                   f.evidence AS "evidence!", f.since AS "since!: At", f.seen_at AS "seen_at!: At"
            FROM store.finding f
            LEFT JOIN store.host h ON h.host_id = f.host_id
            LEFT JOIN store.host p ON p.host_id = f.peer_id
            WHERE CASE WHEN $1::uuid IS NULL THEN f.rule IN ('token-skew', 'log-skew')
                       ELSE h.host_uuid = $1 OR p.host_uuid = $1 END
            ORDER BY CASE f.answer WHEN 'certain' THEN 0 WHEN 'possible' THEN 1
                                   WHEN 'unknown' THEN 2 ELSE 3 END, f.rule DESC, f.policy, f.finding_key
            LIMIT 500
            "#,
            host_uuid
        )
        .fetch_all(&self.pool)
        .await
    }
}
