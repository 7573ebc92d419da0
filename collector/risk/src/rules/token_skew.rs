//! Token skew: tokens that a validator refuses because its clock is not its issuer's.
//!
//! With the issuer ahead of the validator by `s`, least delay `d` from issue to check, leeway `W` and
//! lifetime `L`:
//!
//! * **Not yet valid.** An exact timestamp is refused iff `s > W + d`. An issuer that rounds down to
//!   whole seconds hides a uniform phase of up to 1 s, so the share refused is
//!   `clamp(s − W − d, 0, 1)` with `s` in seconds. Hence, with `s` in `[lo, hi]`: **certain** (some
//!   fresh tokens are refused, at least `share(lo)` of them) iff `lo > W + d`; **safe** iff
//!   `hi ≤ W + d`; else **possible** (at most `share(hi)`). Every fresh token is refused from
//!   `lo ≥ W + d + 1 s`.
//! * **Early expiry.** A validator ahead by `s` leaves `L + W − s` of a token's life. It is flagged
//!   when that is less than the usable life `U`, half of `L` unless the policy says otherwise:
//!   `s > L + W − U`.
//!
//! "Fresh" is a token checked within `d` of its issue; it is accepted once the validator's clock has
//! caught up, at most `s − W` after issue.

mod phrases;
mod preset;

use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Answer, Bounds, Span};

use crate::pairs::{Culprit, Group, Pair, Pairs};
use crate::{Evidence, Finding, FleetView, HostView, Raise, Rounding, Selector, attribution};

pub use preset::Preset;

/// The name of the rule.
pub const RULE: &str = "token-skew";

/// Who issues tokens, who checks them, and what the check forgives.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name in findings and alerts.
    pub name: String,
    /// The hosts whose clocks stamp the tokens.
    pub issuers: Selector,
    /// The hosts whose clocks check them.
    pub validators: Selector,
    /// How far in the future a not-before or issued-at stamp may lie.
    pub leeway: Span,
    /// The least delay from issue to check, which forgives as much skew.
    pub delay: Span,
    /// How the issuer rounds its stamps.
    pub rounding: Rounding,
    /// How long a token is valid; without it expiry is not judged.
    pub lifetime: Option<Span>,
    /// The part of the lifetime that must be left; half of it unless given.
    pub usable_life: Option<Span>,
    /// What a refusal looks like, as a sentence.
    pub refusal: String,
    /// Where the numbers come from, as a sentence.
    pub basis: String,
    /// A window older than this says nothing.
    pub max_age: Span,
    /// When it is worth an alert.
    pub raise: Raise,
}

/// In which direction a clock is wrong, and so what breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The issuer leads: tokens are not yet valid.
    NotYetValid,
    /// The validator leads: tokens expire early.
    EarlyExpiry,
}

/// One side of a policy over the fleet.
struct Judged<'a> {
    side: Side,
    limit: Span,
    pairs: Pairs<'a>,
    answer: Answer,
}

impl Policy {
    /// The lead allowed on `side`; `None` if it is not judged.
    fn limit(&self, side: Side) -> Option<Span> {
        match side {
            Side::NotYetValid => Some(self.leeway + self.delay),
            Side::EarlyExpiry => {
                let lifetime = self.lifetime?;
                let usable = self.usable_life.unwrap_or(lifetime.half());
                Some((lifetime + self.leeway - usable).max(Span::ZERO))
            }
        }
    }

    /// The shares of fresh tokens refused for the least and the greatest lead.
    fn shares(&self, lead: Bounds) -> (f64, f64) {
        self.rounding.shares(lead, self.leeway + self.delay)
    }
}

/// One finding for the policy as a whole, always; one for each host that explains a refusal; and an
/// unlisted one for each host without a window, so that its alert is not taken for cured.
pub fn evaluate(view: &FleetView, policy: &Policy) -> Vec<Finding> {
    let issuers = Group::select(view, &policy.issuers, policy.max_age);
    let validators = Group::select(view, &policy.validators, policy.max_age);
    let judged: Vec<Judged<'_>> = [Side::NotYetValid, Side::EarlyExpiry]
        .into_iter()
        .filter_map(|side| {
            let limit = policy.limit(side)?;
            let (leaders, followers) = match side {
                Side::NotYetValid => (&issuers.clocks, &validators.clocks),
                Side::EarlyExpiry => (&validators.clocks, &issuers.clocks),
            };
            let pairs = Pairs::new(leaders, followers, limit);
            let answer = pairs.answer();
            Some(Judged { side, limit, pairs, answer })
        })
        .collect();
    let mut findings = alloc::vec![summary(policy, &issuers, &validators, &judged)];
    for side in &judged {
        let certain = side.pairs.culprits(Answer::Certain);
        let named: Vec<i64> = certain.iter().map(|c| c.host().host_id).collect();
        findings.extend(certain.iter().map(|c| culprit(policy, side, c, Answer::Certain)));
        let possible = side.pairs.culprits(Answer::Possible);
        findings.extend(
            possible
                .iter()
                .filter(|c| !named.contains(&c.host().host_id))
                .map(|c| culprit(policy, side, c, Answer::Possible)),
        );
    }
    for side in &judged {
        let blind = issuers.blind.iter().chain(&validators.blind);
        findings.extend(blind.map(|host| unknown(policy, side.side, host)));
    }
    findings
}

fn summary(
    policy: &Policy,
    issuers: &Group<'_>,
    validators: &Group<'_>,
    judged: &[Judged<'_>],
) -> Finding {
    // The worst side; not-yet-valid comes first and wins ties.
    let worst = judged.iter().rev().max_by_key(|side| side.answer);
    let blind = issuers.blind.len() + validators.blind.len();
    let answer = match worst {
        Some(side) if side.answer >= Answer::Possible => side.answer,
        Some(side) if blind == 0 => side.answer,
        _ => Answer::Unknown,
    };
    let blank = blank(policy, "policy".into());
    let mut finding = Finding { answer, listed: true, raise: None, ..blank };
    let shown = worst.and_then(|side| Some((side, side.pairs.widest()?)));
    match shown {
        None => (finding.summary, finding.advice) = phrases::no_pairs(policy, issuers, validators),
        Some((side, pair)) => {
            show(&mut finding, side.limit, &pair);
            (finding.summary, finding.consequence, finding.advice) =
                phrases::summary(policy, side, &pair, answer, blind);
            finding.evidence.extend(counts(side));
            if side.side == Side::NotYetValid {
                finding.evidence.extend(shares(policy, pair.lead()));
            }
        }
    }
    finding.evidence.push(Evidence::count("issuers", issuers.len()));
    finding.evidence.push(Evidence::count("validators", validators.len()));
    finding.evidence.push(Evidence::count("hosts_without_window", blind));
    finding.evidence.push(Evidence::text("basis", policy.basis.as_str()));
    finding
}

fn culprit(policy: &Policy, judged: &Judged<'_>, culprit: &Culprit<'_>, answer: Answer) -> Finding {
    let host = culprit.host();
    let mut finding = Finding { answer, listed: true, ..blank(policy, subject(judged.side, host)) };
    show(&mut finding, judged.limit, &culprit.pair);
    finding.host = Some(host.host_id);
    finding.peer = Some(culprit.peer().host_id);
    (finding.summary, finding.consequence) = phrases::culprit(policy, judged, culprit, answer);
    finding.advice = attribution::advice(host, answer);
    finding.evidence = attribution::evidence(host);
    finding.evidence.push(Evidence::count("affected", culprit.against));
    finding.evidence.push(Evidence::count("compared_with", culprit.of));
    if judged.side == Side::NotYetValid {
        finding.evidence.extend(shares(policy, culprit.pair.lead()));
    }
    finding
}

fn unknown(policy: &Policy, side: Side, host: &HostView) -> Finding {
    Finding {
        host: Some(host.host_id),
        summary: alloc::format!("{} has no usable window.", host.name),
        ..blank(policy, subject(side, host))
    }
}

/// The pair as host and peer, its lead as the interval.
fn show(finding: &mut Finding, limit: Span, pair: &Pair<'_>) {
    finding.host = Some(pair.leader.host.host_id);
    finding.peer = Some(pair.follower.host.host_id);
    finding.interval = Some(pair.lead());
    finding.limit = Some(limit);
}

fn subject(side: Side, host: &HostView) -> String {
    let host = Finding::about_host(host.host_id);
    match side {
        Side::NotYetValid => host,
        Side::EarlyExpiry => alloc::format!("expiry-{host}"),
    }
}

fn counts(judged: &Judged<'_>) -> [Evidence; 3] {
    let certain = judged.pairs.count(Answer::Certain);
    [
        Evidence::count("pairs", judged.pairs.total()),
        Evidence::count("pairs_certain", certain),
        Evidence::count("pairs_possible", judged.pairs.count(Answer::Possible) - certain),
    ]
}

fn shares(policy: &Policy, lead: Bounds) -> [Evidence; 2] {
    let (least, most) = policy.shares(lead);
    [Evidence::share("refused_share_lo", least), Evidence::share("refused_share_hi", most)]
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
        limit: None,
        summary: String::new(),
        consequence: String::new(),
        advice: String::new(),
        evidence: Vec::new(),
        listed: false,
        raise: Some(policy.raise),
    }
}
