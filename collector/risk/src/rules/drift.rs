//! Drift: each host's clock against its budget.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Answer, Bounds, Span};

use crate::{Evidence, Finding, FleetView, HostView, HostWindow, Raise, attribution, phrase};

/// The name of the rule.
pub const RULE: &str = "drift";

/// How far a clock may be off.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name in findings and alerts.
    pub name: String,
    /// The greatest error allowed, ahead or behind.
    pub budget: Span,
    /// A window older than this says nothing.
    pub max_age: Span,
    /// When it is worth an alert.
    pub raise: Raise,
}

/// An open alert is over only when the window is back inside this part of the budget, in percent:
/// a clock that sits at its limit is not news every few seconds.
const CALM_PERCENT: i64 = 80;

/// One finding per host, safe ones too: they say that an alert is over and fill the host list.
pub fn evaluate(view: &FleetView, policy: &Policy) -> Vec<Finding> {
    view.hosts
        .iter()
        .map(|host| match (host.window, host.bounds_at(view.reference_time, policy.max_age)) {
            (Some(window), Some(bounds)) => judge(host, window, bounds, policy),
            _ => unknown(host, policy),
        })
        .collect()
}

fn judge(host: &HostView, window: HostWindow, bounds: Bounds, policy: &Policy) -> Finding {
    let (name, budget) = (&host.name, policy.budget);
    let answer = bounds.beyond(budget);
    let calm = Span::from_ns(budget.as_ns() / 100 * CALM_PERCENT);
    let mut finding = Finding {
        answer,
        near_limit: answer == Answer::Safe && bounds.beyond(calm) != Answer::Safe,
        interval: Some(bounds),
        summary: format!("{name} is {}.", phrase::ahead_or_behind(bounds)),
        listed: answer != Answer::Safe,
        ..blank(host, policy)
    };
    if answer == Answer::Safe {
        return finding;
    }
    finding.consequence = match answer {
        Answer::Certain => format!(
            "Beyond the budget of {budget}: log lines, tokens, leases and certificates made on \
             {name} carry that error."
        ),
        _ => format!(
            "The window is {} wide and reaches beyond the budget of {budget}: {name} may be off by \
             up to {}, or not at all.",
            bounds.width(),
            bounds.magnitude()
        ),
    };
    finding.advice = attribution::advice(host, answer);
    finding.evidence = attribution::evidence(host);
    finding.evidence.push(Evidence::span("offset_ns", window.offset));
    finding.evidence.push(Evidence::span("sampled_lo_ns", window.bounds.lo()));
    finding.evidence.push(Evidence::span("sampled_hi_ns", window.bounds.hi()));
    finding
}

fn unknown(host: &HostView, policy: &Policy) -> Finding {
    let name = &host.name;
    Finding {
        summary: match host.window {
            None => format!("{name} has no window: nothing is known about its clock."),
            Some(_) => format!("The newest window of {name} is more than {} old.", policy.max_age),
        },
        consequence: String::from("Whether it keeps its budget cannot be told."),
        advice: match host.window {
            None => attribution::advice(host, Answer::Unknown),
            Some(_) => format!("See why no fresh sample of {name} arrives."),
        },
        evidence: attribution::evidence(host),
        listed: true,
        ..blank(host, policy)
    }
}

fn blank(host: &HostView, policy: &Policy) -> Finding {
    Finding {
        rule: RULE,
        policy: policy.name.clone(),
        subject: Finding::about_host(host.host_id),
        answer: Answer::Unknown,
        near_limit: false,
        host: Some(host.host_id),
        peer: None,
        interval: None,
        limit: Some(policy.budget),
        summary: String::new(),
        consequence: String::new(),
        advice: String::new(),
        evidence: Vec::new(),
        listed: false,
        raise: Some(policy.raise),
    }
}
