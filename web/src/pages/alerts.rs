//! `GET /alerts` and `GET /alerts/{id}`: what was raised, and whether anybody was told.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;
use store::pages::At;
use store::pages::alerts::{AlertRow, AttemptRow, MessageRow, TransitionRow};

use super::risks::{HostLink, band, host_links, rule_words};
use crate::present::{self, Band, Mark, Moment, Quantity};
use crate::session::{Frame, Viewer};
use crate::{Error, WebState};

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    open: Vec<Alert>,
    resolved: Vec<Alert>,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage {
    frame: Frame,
    alert: Alert,
    transitions: Vec<Transition>,
    messages: Vec<Message>,
}

struct Alert {
    id: i64,
    rule: &'static str,
    policy: String,
    mark: Mark,
    open: bool,
    summary: String,
    consequence: String,
    advice: String,
    hosts: Vec<HostLink>,
    simulated: bool,
    bounds: Option<(Quantity, Quantity)>,
    limit: Option<Quantity>,
    band: Option<Band>,
    opened: Moment,
    changed: Moment,
    resolved: Option<Moment>,
    delivered: i64,
    pending: i64,
    parked: i64,
}

struct Transition {
    at: Moment,
    reason: &'static str,
    mark: Mark,
    summary: String,
}

struct Message {
    id: String,
    endpoint: String,
    about: &'static str,
    status: String,
    status_words: &'static str,
    created: Moment,
    next: Option<Moment>,
    finished: Option<Moment>,
    attempts: Vec<Attempt>,
    count: String,
}

struct Attempt {
    number: i32,
    at: Moment,
    result: String,
    took: Quantity,
}

pub(crate) async fn list(
    State(state): State<WebState>,
    viewer: Viewer,
) -> Result<Html<String>, Error> {
    let now = viewer.now();
    let rows = state.store().alert_rows(None).await?;
    let frame = viewer.frame(&state, "Alerts", "alerts").await?;
    let alerts = rows.into_iter().map(|row| Alert::new(row, now));
    let (open, resolved) = alerts.partition(|alert| alert.open);
    Ok(Html(AlertsPage { frame, open, resolved }.render()?))
}

pub(crate) async fn detail(
    State(state): State<WebState>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Html<String>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::NotFound)?;
    let (store, now) = (state.store(), viewer.now());
    let row = store.alert_rows(Some(id)).await?.pop().ok_or(Error::NotFound)?;
    let transitions = store.alert_transitions(id).await?;
    let messages = store.alert_messages(id).await?;
    let attempts = store.alert_attempts(id).await?;
    let page = AlertPage {
        frame: viewer.frame(&state, &format!("Alert {id}"), "alerts").await?,
        alert: Alert::new(row, now),
        transitions: transitions.into_iter().map(|row| Transition::new(row, now)).collect(),
        messages: messages.into_iter().map(|row| Message::new(row, &attempts, now)).collect(),
    };
    Ok(Html(page.render()?))
}

impl Alert {
    fn new(row: AlertRow, now: At) -> Self {
        let bounds = present::bounds(row.lo_ns, row.hi_ns);
        Self {
            id: row.alert_id,
            band: band(&row.rule, bounds, row.limit_ns),
            rule: rule_words(&row.rule),
            policy: row.policy,
            mark: Mark::of(&row.answer),
            open: row.open,
            summary: row.summary,
            consequence: row.consequence,
            advice: row.advice,
            hosts: host_links([(row.host, row.host_uuid), (row.peer, row.peer_uuid)]),
            simulated: row.simulated,
            bounds: bounds.map(present::ends),
            limit: row.limit_ns.map(present::magnitude),
            opened: Moment::new(row.opened_at, now),
            changed: Moment::new(row.changed_at, now),
            resolved: row.resolved_at.map(|at| Moment::new(at, now)),
            delivered: row.delivered,
            pending: row.pending,
            parked: row.parked,
        }
    }
}

impl Transition {
    fn new(row: TransitionRow, now: At) -> Self {
        Self {
            at: Moment::new(row.at, now),
            reason: present::reason_words(&row.reason),
            mark: Mark::of(&row.answer),
            summary: row.summary,
        }
    }
}

impl Message {
    fn new(row: MessageRow, attempts: &[AttemptRow], now: At) -> Self {
        let own = attempts.iter().filter(|attempt| attempt.message_id == row.message_id);
        let pending = row.status == "pending";
        Self {
            id: row.message_id.to_string(),
            endpoint: row.endpoint,
            about: present::reason_words(&row.reason),
            status_words: present::status_words(&row.status),
            status: row.status,
            created: Moment::new(row.created_at, now),
            next: pending.then(|| Moment::new(row.next_attempt_at, now)),
            finished: row.finished_at.map(|at| Moment::new(at, now)),
            attempts: own.map(|attempt| Attempt::new(attempt, now)).collect(),
            count: present::count(row.attempts, "attempt"),
        }
    }
}

impl Attempt {
    fn new(row: &AttemptRow, now: At) -> Self {
        let result = match (row.http_status, &row.error) {
            (Some(status), None) => format!("HTTP {status}"),
            (Some(status), Some(error)) => format!("HTTP {status}: {error}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        };
        Self {
            number: row.attempt,
            at: Moment::new(row.at, now),
            result,
            took: present::magnitude(row.duration_ms.saturating_mul(1_000_000)),
        }
    }
}
