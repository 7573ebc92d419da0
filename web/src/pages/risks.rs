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

/// Culprits of a policy shown at once; the others are one click away.
const CULPRITS_SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "risks.html")]
struct RisksPage {
    frame: Frame,
    lead: String,
    groups: Vec<Group>,
}

/// Policies of like answers under one heading.
struct Group {
    heading: &'static str,
    policies: Vec<Policy>,
}

/// A policy: its own answer, and the hosts because of which it is not safe.
struct Policy {
    own: Risk,
    culprits: Vec<Risk>,
    more: Vec<Risk>,
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
    let policies = policies(findings.into_iter().map(|finding| Risk::new(finding, now)).collect());
    let with = |answers: &[Answer]| {
        policies.iter().filter(|policy| answers.contains(&policy.own.mark.answer)).count()
    };
    let lead = lead(with(&[Answer::Certain, Answer::Possible]), with(&[Answer::Unknown]));
    Ok(Html(RisksPage { frame, lead, groups: groups(policies) }.render()?))
}

impl Policy {
    fn more_words(&self) -> String {
        present::count(self.more.len(), "more host")
    }
}

/// Puts the culprits of a policy beneath it; the order of the policies stays.
fn policies(risks: Vec<Risk>) -> Vec<Policy> {
    let (own, mut others): (Vec<_>, Vec<_>) = risks.into_iter().partition(Risk::is_policy);
    let mut policies: Vec<Policy> = Vec::new();
    for own in own {
        let (mut culprits, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|risk| risk.same_policy(&own));
        others = rest;
        let more = culprits.split_off(culprits.len().min(CULPRITS_SHOWN));
        policies.push(Policy { own, culprits, more });
    }
    // A culprit whose policy has no answer of its own stands for itself.
    let alone = |own| Policy { own, culprits: Vec::new(), more: Vec::new() };
    policies.extend(others.into_iter().map(alone));
    policies.sort_by_key(|policy| std::cmp::Reverse(policy.own.mark.answer));
    policies
}

fn groups(policies: Vec<Policy>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for policy in policies {
        let heading = match policy.own.mark.answer {
            Answer::Certain | Answer::Possible => "At risk",
            Answer::Unknown => "Unknown",
            Answer::Safe => "Safe",
        };
        match groups.last_mut() {
            Some(group) if group.heading == heading => group.policies.push(policy),
            _ => groups.push(Group { heading, policies: vec![policy] }),
        }
    }
    groups
}

/// What to show of a host's findings: what it is found guilty of or suffers from, each once.
pub(crate) fn of_host(findings: Vec<FindingRow>, now: At) -> Vec<Risk> {
    let risks: Vec<Risk> = findings.into_iter().map(|finding| Risk::new(finding, now)).collect();
    let told = |own: &Risk| risks.iter().any(|risk| !risk.is_policy() && risk.same_policy(own));
    let kept: Vec<bool> = risks
        .iter()
        .map(|risk| risk.mark.answer != Answer::Safe && !(risk.is_policy() && told(risk)))
        .collect();
    risks.into_iter().zip(kept).filter_map(|(risk, kept)| kept.then_some(risk)).collect()
}

/// The state of all policies in one line.
fn lead(at_risk: usize, unknown: usize) -> String {
    let policies = |n: usize| if n == 1 { "1 policy".to_owned() } else { format!("{n} policies") };
    let breaks = match at_risk {
        0 => "No policy is known to break.".to_owned(),
        n => format!("{} broken or at risk.", policies(n)),
    };
    match unknown {
        0 => breaks,
        n => format!("{breaks} About {} nobody can say.", policies(n)),
    }
}

impl Risk {
    /// Whether it is a policy's own answer; the others name one host because of which it is so.
    fn is_policy(&self) -> bool {
        self.key.ends_with(":policy")
    }

    fn same_policy(&self, other: &Self) -> bool {
        (self.kind, &self.policy) == (other.kind, &other.policy)
    }

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
