//! Assessments and findings: what is true now, rewritten only where it changed.

use std::collections::{BTreeMap, BTreeSet};

use risk::{Evidence, Finding, Value};
use sqlx::PgConnection;
use timebase::{Answer, Span};

use super::Evaluation;
use crate::time;

/// A finding's row is rewritten this often even if only its interval has moved.
const REFRESH: Span = Span::from_secs(10);

/// The drift rule's answer per host, and whether the host is silent, where that changed. What did not
/// is kept out of the statement: a conflict locks its row, and a lock is a write too. (Not by NOT EXISTS,
/// which Citus does not compare a list of values with.)
pub(super) async fn assess(tx: &mut PgConnection, at: &Evaluation<'_>) -> Result<u64, sqlx::Error> {
    let silent: BTreeSet<i64> = at
        .findings
        .iter()
        .filter(|f| f.rule == risk::silent::RULE && f.answer == Answer::Certain)
        .filter_map(|f| f.host)
        .collect();
    let mut worst: BTreeMap<i64, &Finding> = BTreeMap::new();
    for finding in at.findings.iter().filter(|f| f.rule == risk::drift::RULE) {
        let Some(host) = finding.host else { continue };
        let kept = worst.entry(host).or_insert(finding);
        if finding.answer > kept.answer {
            *kept = finding;
        }
    }
    let hosts: Vec<i64> = worst.keys().copied().collect();
    let answers: Vec<String> = worst.values().map(|f| f.answer.word().to_owned()).collect();
    let budgets: Vec<i64> = worst.values().map(|f| f.limit.unwrap_or(Span::MAX).as_ns()).collect();
    let silences: Vec<bool> = hosts.iter().map(|host| silent.contains(host)).collect();
    let written = sqlx::query!(
        "INSERT INTO store.assessment AS a (host_id, answer, budget_ns, silent, since)
         SELECT host_id, answer, budget_ns, silent, $5
         FROM (SELECT host_id, answer, budget_ns, silent
               FROM UNNEST($1::int8[], $2::text[], $3::int8[], $4::bool[])
                    AS u (host_id, answer, budget_ns, silent)
               EXCEPT SELECT host_id, answer, budget_ns, silent FROM store.assessment) t
         ON CONFLICT (host_id) DO UPDATE
         SET answer = excluded.answer, budget_ns = excluded.budget_ns, silent = excluded.silent,
             since = CASE WHEN a.answer = excluded.answer THEN a.since ELSE excluded.since END",
        &hosts,
        &answers,
        &budgets,
        &silences,
        time::to_sql(at.at) as _
    )
    .execute(&mut *tx)
    .await?;
    let removed =
        sqlx::query!("DELETE FROM store.assessment WHERE host_id <> ALL($1::int8[])", &hosts)
            .execute(&mut *tx)
            .await?;
    Ok(written.rows_affected() + removed.rows_affected())
}

/// Findings that belong on the list, where they changed; those that are gone are removed.
pub(super) async fn write_findings(
    tx: &mut PgConnection,
    at: &Evaluation<'_>,
) -> Result<u64, sqlx::Error> {
    let rows = FindingRows::new(at);
    let written = sqlx::query!(
        "INSERT INTO store.finding (finding_key, rule, policy, answer, summary, consequence,
             advice, host_id, peer_id, lo_ns, hi_ns, limit_ns, evidence, since, seen_at)
         SELECT t.*, $15 FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
             $6::text[], $7::text[], $8::int8[], $9::int8[], $10::int8[], $11::int8[],
             $12::int8[], $13::jsonb[], $14::timestamptz[])
             AS t (finding_key, rule, policy, answer, summary, consequence, advice, host_id,
                   peer_id, lo_ns, hi_ns, limit_ns, evidence, since)
         WHERE NOT EXISTS (SELECT FROM store.finding s
             WHERE s.finding_key = t.finding_key AND s.seen_at >= $16
               AND (s.answer, s.summary, s.consequence, s.advice, s.host_id, s.peer_id, s.limit_ns)
                   IS NOT DISTINCT FROM (t.answer, t.summary, t.consequence, t.advice, t.host_id,
                       t.peer_id, t.limit_ns))
         ON CONFLICT (finding_key) DO UPDATE
         SET answer = excluded.answer, summary = excluded.summary,
             consequence = excluded.consequence, advice = excluded.advice,
             host_id = excluded.host_id, peer_id = excluded.peer_id, lo_ns = excluded.lo_ns,
             hi_ns = excluded.hi_ns, limit_ns = excluded.limit_ns, evidence = excluded.evidence,
             since = excluded.since, seen_at = excluded.seen_at",
        &rows.keys,
        &rows.rules,
        &rows.policies,
        &rows.answers,
        &rows.summaries,
        &rows.consequences,
        &rows.advices,
        &rows.hosts as &[Option<i64>],
        &rows.peers as &[Option<i64>],
        &rows.los as &[Option<i64>],
        &rows.his as &[Option<i64>],
        &rows.limits as &[Option<i64>],
        &rows.evidence,
        &rows.since as &[jiff_sqlx::Timestamp],
        time::to_sql(at.at) as _,
        time::to_sql(at.at - REFRESH) as _
    )
    .execute(&mut *tx)
    .await?;
    let removed =
        sqlx::query!("DELETE FROM store.finding WHERE finding_key <> ALL($1::text[])", &rows.keys)
            .execute(&mut *tx)
            .await?;
    Ok(written.rows_affected() + removed.rows_affected())
}

/// Findings as columns.
#[derive(Default)]
struct FindingRows {
    keys: Vec<String>,
    rules: Vec<String>,
    policies: Vec<String>,
    answers: Vec<String>,
    summaries: Vec<String>,
    consequences: Vec<String>,
    advices: Vec<String>,
    hosts: Vec<Option<i64>>,
    peers: Vec<Option<i64>>,
    los: Vec<Option<i64>>,
    his: Vec<Option<i64>>,
    limits: Vec<Option<i64>>,
    evidence: Vec<serde_json::Value>,
    since: Vec<jiff_sqlx::Timestamp>,
}

impl FindingRows {
    fn new(at: &Evaluation<'_>) -> Self {
        let mut rows = Self::default();
        let mut seen = BTreeSet::new();
        for finding in at.findings.iter().filter(|finding| finding.listed) {
            let key = finding.key();
            if !seen.insert(key.clone()) {
                continue;
            }
            let since = at.alerts.track(&key).map_or(at.at, |track| track.since);
            rows.keys.push(key);
            rows.rules.push(finding.rule.to_owned());
            rows.policies.push(finding.policy.clone());
            rows.answers.push(finding.answer.word().to_owned());
            rows.summaries.push(finding.summary.clone());
            rows.consequences.push(finding.consequence.clone());
            rows.advices.push(finding.advice.clone());
            rows.hosts.push(finding.host);
            rows.peers.push(finding.peer);
            rows.los.push(finding.interval.map(|i| i.lo().as_ns()));
            rows.his.push(finding.interval.map(|i| i.hi().as_ns()));
            rows.limits.push(finding.limit.map(Span::as_ns));
            rows.evidence.push(json(&finding.evidence));
            rows.since.push(time::to_sql(since));
        }
        rows
    }
}

/// Evidence as a JSON object; spans are whole nanoseconds.
pub(super) fn json(evidence: &[Evidence]) -> serde_json::Value {
    let value = |value: &Value| -> serde_json::Value {
        match value {
            Value::Count(count) => (*count).into(),
            Value::Span(span) => span.as_ns().into(),
            Value::Share(share) => (*share).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(list) => list.as_slice().into(),
        }
    };
    evidence.iter().map(|fact| (fact.name.to_owned(), value(&fact.value))).collect()
}
