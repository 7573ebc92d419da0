//! `GET /risks`: what breaks because two clocks disagree.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use store::pages::At;
use store::pages::risks::FindingRow;
use timebase::{Answer, Bounds, Span};

use crate::present::{self, Band, Mark, Moment, Quantity};
use crate::session::{Frame, Viewer};
use crate::{Error, WebState};

#[derive(Template)]
#[template(path = "risks.html")]
struct RisksPage {
    frame: Frame,
    policies: usize,
    lead: String,
    urgent: Vec<Risk>,
    unknown: Vec<Risk>,
    safe: Vec<Risk>,
}

/// One finding in words and as a drawing.
pub(crate) struct Risk {
    pub(crate) key: String,
    pub(crate) kind: &'static str,
    pub(crate) policy: String,
    pub(crate) mark: Mark,
    pub(crate) summary: String,
    pub(crate) consequence: String,
    pub(crate) advice: String,
    pub(crate) hosts: Vec<HostLink>,
    pub(crate) simulated: bool,
    pub(crate) bounds: Option<(Quantity, Quantity)>,
    pub(crate) limit: Option<Quantity>,
    pub(crate) band: Option<Band>,
    pub(crate) since: Moment,
    pub(crate) seen: Moment,
    pub(crate) evidence: Vec<(String, String)>,
}

pub(crate) struct HostLink {
    pub(crate) name: String,
    pub(crate) address: String,
}

/// The hosts of a finding or an alert as links.
pub(crate) fn host_links(hosts: [(Option<String>, Option<uuid::Uuid>); 2]) -> Vec<HostLink> {
    let link = |(name, id): (Option<String>, Option<uuid::Uuid>)| {
        Some(HostLink { name: name?, address: format!("/hosts/{}", id?) })
    };
    hosts.into_iter().filter_map(link).collect()
}

/// What a rule is called in front of people.
pub(crate) fn rule_words(rule: &str) -> &'static str {
    match rule {
        "token-skew" => "Token skew",
        "log-skew" => "Log skew",
        "drift" => "Drift",
        "silent" => "Silence",
        _ => "Rule",
    }
}

pub(crate) async fn show(
    State(state): State<WebState>,
    viewer: Viewer,
) -> Result<Html<String>, Error> {
    let now = viewer.now();
    let findings = state.store().findings(None).await?;
    let frame = viewer.frame(&state, "Risks", "risks").await?;
    let policies = findings.len();
    let (mut urgent, mut unknown, mut safe) = (Vec::new(), Vec::new(), Vec::new());
    for finding in findings {
        let risk = Risk::new(finding, now);
        match risk.mark.answer {
            Answer::Certain | Answer::Possible => urgent.push(risk),
            Answer::Unknown => unknown.push(risk),
            Answer::Safe => safe.push(risk),
        }
    }
    let lead = lead(urgent.len(), unknown.len());
    Ok(Html(RisksPage { frame, policies, lead, urgent, unknown, safe }.render()?))
}

/// The state of all policies in one line.
fn lead(urgent: usize, unknown: usize) -> String {
    let policies = |n: usize| if n == 1 { "1 policy".to_owned() } else { format!("{n} policies") };
    let breaks = match urgent {
        0 => "No policy is known to break.".to_owned(),
        n => format!("{} broken or at risk.", policies(n)),
    };
    match unknown {
        0 => breaks,
        n => format!("{breaks} About {} nobody can say.", policies(n)),
    }
}

impl Risk {
    pub(crate) fn new(finding: FindingRow, now: At) -> Self {
        let bounds = present::bounds(finding.lo_ns, finding.hi_ns);
        Self {
            key: finding.finding_key,
            kind: rule_words(&finding.rule),
            policy: finding.policy,
            mark: Mark::of(&finding.answer),
            summary: finding.summary,
            consequence: finding.consequence,
            advice: finding.advice,
            hosts: host_links([
                (finding.host, finding.host_uuid),
                (finding.peer, finding.peer_uuid),
            ]),
            simulated: finding.simulated,
            bounds: bounds.map(present::ends),
            limit: finding.limit_ns.map(present::signed),
            band: band(&finding.rule, bounds, finding.limit_ns),
            since: Moment::new(finding.since, now),
            seen: Moment::new(finding.seen_at, now),
            evidence: evidence(&finding.evidence),
        }
    }
}

/// Drift is judged on both sides of zero, a lead of one host over another on one side.
pub(crate) fn band(rule: &str, bounds: Option<Bounds>, limit_ns: Option<i64>) -> Option<Band> {
    match rule {
        "drift" => Some(Band::in_budget(bounds?, None, limit_ns?)),
        "token-skew" | "log-skew" => Some(Band::above(bounds?, limit_ns?)),
        _ => None,
    }
}

/// Named facts as people read them: `leeway_ns: 500000000` becomes "leeway", "500 ms".
fn evidence(facts: &serde_json::Value) -> Vec<(String, String)> {
    use serde_json::Value;
    let shown = |name: &str, value: &Value| match value {
        Value::Number(n) if name.ends_with("_ns") => {
            n.as_i64().map_or_else(|| n.to_string(), |ns| Span::from_ns(ns).to_string())
        }
        Value::Array(items) => {
            let words: Vec<String> = items.iter().map(plain).collect();
            words.join(", ")
        }
        other => plain(other),
    };
    let facts = facts.as_object().into_iter().flatten();
    facts
        .map(|(name, value)| (name.trim_end_matches("_ns").replace('_', " "), shown(name, value)))
        .collect()
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that facts get units and words.
    #[test]
    fn evidence_reads_as_words() {
        let facts =
            serde_json::json!({"leeway_ns": 500_000_000, "validators": 41, "hosts": ["a", "b"]});
        let shown = evidence(&facts);
        for (name, value) in [("leeway", "500 ms"), ("validators", "41"), ("hosts", "a, b")] {
            assert!(shown.contains(&(name.to_owned(), value.to_owned())), "{shown:?}");
        }
    }
}
