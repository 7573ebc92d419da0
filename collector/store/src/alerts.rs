//! What an evaluation changes, written in one transaction: assessments, findings, alerts with their
//! transitions, and the messages about them. All or nothing, so no alert goes untold and none is told
//! that is not there.

mod findings;

use std::collections::BTreeMap;

use risk::{Alerts, Finding, Raise, Reason, Track, Transition};
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use timebase::{Answer, Bounds, Span, Timestamp, Utc};
use uuid::Uuid;

use crate::fleet_view::Seat;
use crate::outbox::Notice;
use crate::time;
use findings::{assess, json, write_findings};

/// The result of one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    /// The moment the fleet was judged at.
    pub at: Timestamp<Utc>,
    /// What the rules found.
    pub findings: &'a [Finding],
    /// The alerts after it.
    pub alerts: &'a Alerts,
    /// What changed.
    pub transitions: &'a [Transition],
    /// Names of the endpoints to be told.
    pub endpoints: &'a [String],
}

impl Seat {
    /// What an earlier holder of the seat remembered: open alerts, and how long findings have lasted.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn remembered(&mut self) -> Result<Alerts, sqlx::Error> {
        let mut tracks = BTreeMap::new();
        let findings = sqlx::query!(
            r#"SELECT finding_key, answer, since AS "since: jiff_sqlx::Timestamp"
               FROM store.finding"#
        );
        for row in findings.fetch_all(&mut self.connection).await? {
            tracks.insert(row.finding_key, track(&row.answer, time::from_sql(row.since)));
        }
        let open = sqlx::query!(
            r#"SELECT a.finding_key AS "finding_key!",
                      a.changed_at AS "changed_at!: jiff_sqlx::Timestamp", a.peer_id AS "peer_id?",
                      coalesce((SELECT t.answer FROM store.alert_transition t
                                WHERE t.alert_id = a.alert_id
                                ORDER BY t.transition_id DESC LIMIT 1), a.answer) AS "answer!"
               FROM store.alert a WHERE a.status = 'open'"#
        );
        for row in open.fetch_all(&mut self.connection).await? {
            let seen = track(&row.answer, time::from_sql(row.changed_at));
            let track = tracks.entry(row.finding_key).or_insert(seen);
            track.open = Some(seen.answer);
            track.peer = row.peer_id;
        }
        Ok(Alerts::restore(tracks))
    }

    /// Writes the evaluation; whether anything that people see has changed.
    ///
    /// # Errors
    /// The database does not answer; then nothing was written.
    pub async fn apply(&mut self, evaluation: &Evaluation<'_>) -> Result<bool, sqlx::Error> {
        let mut tx = self.connection.begin().await?;
        // On Citus tables that refer to hosts change after distributed ones only where those did one by one.
        sqlx::query!("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
            .fetch_one(&mut *tx)
            .await?;
        let mut changed = assess(&mut tx, evaluation).await?;
        changed += write_findings(&mut tx, evaluation).await?;
        for transition in evaluation.transitions {
            write_transition(&mut tx, evaluation, transition).await?;
        }
        refresh_open_alerts(&mut tx).await?;
        if changed > 0 {
            sqlx::query!("SELECT pg_notify('truechimer', 'findings')").execute(&mut *tx).await?;
        }
        if !evaluation.transitions.is_empty() {
            sqlx::query!("SELECT pg_notify('truechimer', 'alerts')").execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(changed > 0 || !evaluation.transitions.is_empty())
    }
}

fn track(answer: &str, since: Timestamp<Utc>) -> Track {
    let answer = Answer::from_word(answer).unwrap_or(Answer::Unknown);
    Track { answer, since, open: None, calm_since: None, raise: Some(Raise::default()), peer: None }
}

/// An alert that is open says what is now, not what was when it opened.
async fn refresh_open_alerts(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE store.alert a
         SET summary = f.summary, consequence = f.consequence, advice = f.advice,
             peer_id = f.peer_id, lo_ns = f.lo_ns, hi_ns = f.hi_ns, evidence = f.evidence
         FROM store.finding f
         WHERE a.status = 'open' AND f.finding_key = a.finding_key
           AND f.answer IN ('certain', 'possible')
           AND (a.summary, a.consequence, a.advice)
               IS DISTINCT FROM (f.summary, f.consequence, f.advice)"
    )
    .execute(tx)
    .await
    .map(drop)
}

async fn write_transition(
    tx: &mut PgConnection,
    evaluation: &Evaluation<'_>,
    transition: &Transition,
) -> Result<(), sqlx::Error> {
    let at = time::to_sql(evaluation.at);
    let reason = transition.reason.word();
    let finding = transition.finding.as_ref();
    let alert_id = match (transition.reason, finding) {
        (Reason::Opened, Some(finding)) => {
            Some(open(tx, &transition.key, finding, evaluation.at).await?)
        }
        (Reason::Resolved, _) => resolve(tx, &transition.key, evaluation.at).await?,
        (_, Some(finding)) => change(tx, &transition.key, finding, evaluation.at).await?,
        (_, None) => None,
    };
    // An alert that somebody removed by hand has no further story.
    let Some(alert_id) = alert_id else { return Ok(()) };
    let row = sqlx::query!(
        r#"INSERT INTO store.alert_transition (alert_id, at, reason, answer, summary)
           SELECT alert_id, $2, $3, $4, coalesce($5, 'No longer so: ' || summary)
           FROM store.alert WHERE alert_id = $1
           RETURNING transition_id, summary"#,
        alert_id,
        at as _,
        reason,
        transition.answer.word(),
        finding.map(|f| f.summary.as_str())
    )
    .fetch_one(&mut *tx)
    .await?;
    if evaluation.endpoints.is_empty() {
        return Ok(());
    }
    let mut notice = notice(tx, alert_id, transition, evaluation.at).await?;
    notice.summary = row.summary;
    let ids: Vec<Uuid> = evaluation.endpoints.iter().map(|_| Uuid::new_v4()).collect();
    sqlx::query!(
        "INSERT INTO store.outbox
             (message_id, transition_id, endpoint, payload, status, created_at, next_attempt_at)
         SELECT message_id, $3, endpoint, $4, 'pending', $5, $5
         FROM UNNEST($1::uuid[], $2::text[]) AS t (message_id, endpoint)",
        &ids,
        evaluation.endpoints,
        row.transition_id,
        Json(&notice) as _,
        time::to_sql(evaluation.at) as _
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn open(
    tx: &mut PgConnection,
    key: &str,
    finding: &Finding,
    at: Timestamp<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO store.alert (finding_key, rule, policy, answer, status, summary, consequence,
             advice, host_id, peer_id, lo_ns, hi_ns, limit_ns, evidence, opened_at, changed_at)
         VALUES ($1, $2, $3, $4, 'open', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)
         RETURNING alert_id",
        key,
        finding.rule,
        finding.policy,
        finding.answer.word(),
        finding.summary,
        finding.consequence,
        finding.advice,
        finding.host,
        finding.peer,
        finding.interval.map(Bounds::lo).map(Span::as_ns),
        finding.interval.map(Bounds::hi).map(Span::as_ns),
        finding.limit.map(Span::as_ns),
        json(&finding.evidence),
        time::to_sql(at) as _
    )
    .fetch_one(tx)
    .await
}

/// The alert's texts follow by [`refresh_open_alerts`]; its answer stays the worst it has been.
async fn change(
    tx: &mut PgConnection,
    key: &str,
    finding: &Finding,
    at: Timestamp<Utc>,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE store.alert
         SET answer = CASE WHEN $2 = 'certain' THEN $2 ELSE answer END, changed_at = $3
         WHERE finding_key = $1 AND status = 'open' RETURNING alert_id",
        key,
        finding.answer.word(),
        time::to_sql(at) as _
    )
    .fetch_optional(tx)
    .await
}

async fn resolve(
    tx: &mut PgConnection,
    key: &str,
    at: Timestamp<Utc>,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE store.alert SET status = 'resolved', changed_at = $2, resolved_at = $2
         WHERE finding_key = $1 AND status = 'open' RETURNING alert_id",
        key,
        time::to_sql(at) as _
    )
    .fetch_optional(tx)
    .await
}

async fn notice(
    tx: &mut PgConnection,
    alert_id: i64,
    transition: &Transition,
    at: Timestamp<Utc>,
) -> Result<Notice, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT a.rule AS "rule!", a.policy AS "policy!", a.summary AS "summary!",
                  a.consequence AS "consequence!", a.advice AS "advice!", a.limit_ns AS "limit_ns?",
                  a.opened_at AS "opened_at!: jiff_sqlx::Timestamp",
                  h.name AS "host?", h.service AS "service?", h.simulated AS "simulated?",
                  p.name AS "peer?"
           FROM store.alert a LEFT JOIN store.host h ON h.host_id = a.host_id
                              LEFT JOIN store.host p ON p.host_id = a.peer_id
           WHERE a.alert_id = $1"#,
        alert_id
    )
    .fetch_one(tx)
    .await?;
    // The row still has the texts from before this change; a resolved alert keeps what broke.
    let found = transition.finding.as_ref();
    let news = found.filter(|_| transition.reason != Reason::Resolved);
    let interval = found.and_then(|finding| finding.interval);
    Ok(Notice {
        alert_id,
        reason: transition.reason.word().to_owned(),
        at_ns: at.as_ns(),
        opened_at_ns: time::from_sql(row.opened_at).as_ns(),
        key: transition.key.clone(),
        rule: row.rule,
        policy: row.policy,
        answer: transition.answer.word().to_owned(),
        host: row.host,
        service: row.service.filter(|service| !service.is_empty()),
        peer: row.peer,
        simulated: row.simulated.unwrap_or(false),
        summary: row.summary,
        consequence: news.map_or(row.consequence, |finding| finding.consequence.clone()),
        advice: news.map_or(row.advice, |finding| finding.advice.clone()),
        lo_ns: interval.map(|i| i.lo().as_ns()),
        hi_ns: interval.map(|i| i.hi().as_ns()),
        limit_ns: row.limit_ns,
    })
}
