//! Log skew: lines of different hosts that do not sort as things happened.
//!
//! A receiver's line follows the sender's by at least the causal gap `d`. With the sender ahead of the
//! receiver by `s`, the later line carries the earlier stamp iff `s > d`. Stamps cut to a resolution
//! `q` blur that: the share inverted is `clamp((s − d)/q, 0, 1)`, and lines tie with probability
//! `max(0, 1 − |d − s|/q)`. Hence, with `s` in `[lo, hi]`: **certain** (some lines sort wrongly) iff
//! `lo > d`, **safe** iff `hi ≤ d`, else **possible**. Safe therefore needs the two hosts' windows to
//! be narrower than the gap together: what cannot be known is not called safe.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Answer, Bounds, Span};

use crate::pairs::{Culprit, Group, Pair, Pairs};
use crate::phrase::{ahead_of, count};
use crate::{Evidence, Finding, FleetView, HostView, Raise, Selector, attribution, share};

/// The name of the rule.
pub const RULE: &str = "log-skew";

/// Hosts whose lines are read as one log.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name in findings and alerts.
    pub name: String,
    /// The hosts whose lines must sort.
    pub hosts: Selector,
    /// The least time between a line and a line of another host that it caused.
    pub gap: Span,
    /// The resolution of the stamps; `None` if finer than the gap.
    pub resolution: Option<Span>,
    /// A window older than this says nothing.
    pub max_age: Span,
    /// When it is worth an alert.
    pub raise: Raise,
}

impl Policy {
    /// The shares of lines inverted for the least and the greatest lead.
    fn shares(&self, lead: Bounds) -> Option<(f64, f64)> {
        let over = self.resolution?;
        Some((share::ramp(lead.lo(), self.gap, over), share::ramp(lead.hi(), self.gap, over)))
    }
}

/// One finding for the policy as a whole, always; one for each host that certainly breaks the order, or may
/// where that is worth an alert;
/// and an unlisted one for each host without a window.
pub fn evaluate(view: &FleetView, policy: &Policy) -> Vec<Finding> {
    let group = Group::select(view, &policy.hosts, policy.max_age);
    let pairs = Pairs::new(&group.clocks, &group.clocks, policy.gap);
    let mut findings = alloc::vec![summary(policy, &group, &pairs)];
    let certain = pairs.culprits(Answer::Certain);
    findings.extend(certain.iter().map(|c| culprit(policy, c, Answer::Certain)));
    // With wide windows nearly every host may break the order: named only where that is an alert.
    if policy.raise.possible_after.is_some() {
        let named: Vec<i64> = certain.iter().map(|c| c.host().host_id).collect();
        let possible = pairs.culprits(Answer::Possible);
        let unnamed = possible.iter().filter(|c| !named.contains(&c.host().host_id));
        findings.extend(unnamed.map(|c| culprit(policy, c, Answer::Possible)));
    }
    findings.extend(group.blind.iter().map(|host| unknown(policy, host)));
    findings
}

fn summary(policy: &Policy, group: &Group<'_>, pairs: &Pairs<'_>) -> Finding {
    let (hosts, blind) = (group.len(), group.blind.len());
    let blank = blank(policy, "policy".into());
    let mut finding = Finding { listed: true, raise: None, ..blank };
    finding.evidence = alloc::vec![
        Evidence::count("hosts", hosts),
        Evidence::count("hosts_without_window", blind),
    ];
    let Some(pair) = pairs.widest() else {
        (finding.summary, finding.advice) = no_pairs(policy, hosts);
        return finding;
    };
    let (certain, possible) = (pairs.count(Answer::Certain), pairs.count(Answer::Possible));
    finding.answer = match pairs.answer() {
        Answer::Safe if blind > 0 => Answer::Unknown,
        answer => answer,
    };
    finding.interval = Some(pair.lead());
    finding.host = Some(pair.leader.host.host_id);
    finding.peer = Some(pair.follower.host.host_id);
    finding.evidence.extend([
        Evidence::count("pairs", pairs.total()),
        Evidence::count("pairs_certain", certain),
        Evidence::count("pairs_possible", possible - certain),
        Evidence::span("gap_ns", policy.gap),
    ]);
    let widest =
        format!("{} is {}", pair.leader.host.name, ahead_of(pair.lead(), &pair.follower.host.name));
    let total = pairs.total();
    let gap = policy.gap;
    finding.summary = match finding.answer {
        Answer::Certain => {
            format!("{widest}; in {certain} of {total} directions lines sort wrongly.")
        }
        Answer::Possible => {
            format!("{widest}; in {possible} of {total} directions lines may sort wrongly.")
        }
        _ => format!("No host of {hosts} leads another by more than {gap}; at most {widest}."),
    };
    if blind > 0 {
        finding.summary.push_str(&format!(" {} cannot be judged.", count(blind, "host")));
    }
    if finding.answer >= Answer::Possible {
        finding.consequence = consequence(policy, &pair, finding.answer);
        finding.advice = match finding.answer {
            Answer::Certain => {
                let who = pair.culprit().host;
                format!("Begin with {}. {}", who.name, attribution::advice(who, Answer::Certain))
            }
            _ => format!(
                "The two windows together are {} wide: nearer or more sources make them narrower. \
                 Until then, do not trust the order of lines closer than that.",
                pair.lead().width()
            ),
        };
    }
    finding
}

fn no_pairs(policy: &Policy, hosts: usize) -> (String, String) {
    if hosts < 2 {
        (
            format!(
                "{} of policy {}; it takes two to compare.",
                match hosts {
                    0 => "No host matches the services".into(),
                    _ => format!("Only {} matches the services", count(hosts, "host")),
                },
                policy.name
            ),
            String::from("Name services or hosts that exist in the policy, or remove it."),
        )
    } else {
        (
            format!("No two hosts of policy {} can be compared.", policy.name),
            String::from("See why these hosts have no window: silent agents, unreachable sources."),
        )
    }
}

fn consequence(policy: &Policy, pair: &Pair<'_>, answer: Answer) -> String {
    let (sender, receiver) = (&pair.leader.host.name, &pair.follower.host.name);
    let verb = if answer == Answer::Certain { "carries" } else { "may carry" };
    let mut text = format!(
        "A line on {receiver} that a line on {sender} caused within {} {verb} the earlier \
         timestamp: sorted by time, the effect comes before its cause.",
        pair.lead().hi()
    );
    if let Some(shares) = policy.shares(pair.lead()) {
        text.push_str(&format!(
            " At {} after the cause that is {} of such lines.",
            policy.gap,
            share::words(shares)
        ));
    }
    text
}

fn culprit(policy: &Policy, culprit: &Culprit<'_>, answer: Answer) -> Finding {
    let host = culprit.host();
    let lead = culprit.pair.lead();
    let lead_of_host = if culprit.leads { lead } else { -lead };
    let mut evidence = attribution::evidence(host);
    evidence.push(Evidence::count("affected", culprit.against));
    evidence.push(Evidence::count("compared_with", culprit.of));
    Finding {
        answer,
        listed: true,
        host: Some(host.host_id),
        peer: Some(culprit.peer().host_id),
        interval: Some(lead),
        summary: format!("{} is {}.", host.name, ahead_of(lead_of_host, &culprit.peer().name)),
        consequence: format!(
            "Its lines {} sort wrongly against {} of {} hosts. {}",
            if answer == Answer::Certain { "certainly" } else { "may" },
            culprit.against,
            culprit.of,
            consequence(policy, &culprit.pair, answer)
        ),
        advice: attribution::advice(host, answer),
        evidence,
        ..blank(policy, Finding::about_host(host.host_id))
    }
}

fn unknown(policy: &Policy, host: &HostView) -> Finding {
    Finding {
        host: Some(host.host_id),
        summary: format!("{} has no usable window.", host.name),
        ..blank(policy, Finding::about_host(host.host_id))
    }
}

fn blank(policy: &Policy, subject: String) -> Finding {
    Finding {
        rule: RULE,
        policy: policy.name.clone(),
        subject,
        answer: Answer::Unknown,
        near_limit: false,
        host: None,
        peer: None,
        interval: None,
        limit: Some(policy.gap),
        summary: String::new(),
        consequence: String::new(),
        advice: String::new(),
        evidence: Vec::new(),
        listed: false,
        raise: Some(policy.raise),
    }
}
