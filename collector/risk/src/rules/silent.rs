//! Silent: a host that does not report is a host about which less is known every second.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Answer, Span};

use crate::{Evidence, Finding, FleetView, HostView, Raise};

/// The name of the rule.
pub const RULE: &str = "silent";

/// How long a host may stay silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name in findings and alerts.
    pub name: String,
    /// The longest silence that means nothing: a few report intervals.
    pub limit: Span,
    /// When it is worth an alert.
    pub raise: Raise,
}

/// One finding per host: certain when it has been silent for too long, else safe. A host that has
/// enrolled and never reported is silent since it enrolled. Nobody is called silent before the limit
/// has passed with somebody listening: after an outage of the collector all agents get their chance to
/// return, and an alert from before it stays open meanwhile.
pub fn evaluate(view: &FleetView, policy: &Policy) -> Vec<Finding> {
    view.hosts.iter().map(|host| judge(view, host, policy)).collect()
}

fn judge(view: &FleetView, host: &HostView, policy: &Policy) -> Finding {
    let last_heard = host.last_heard();
    let overdue = |since| view.reference_time - since > policy.limit;
    let silent = overdue(last_heard.max(view.watching_since));
    let name = &host.name;
    let (summary, consequence, advice) = if !silent {
        (format!("{name} reports."), String::new(), String::new())
    } else {
        // The length of the silence is left to whoever shows it: a sentence that changes every
        // second would be a new sentence every second.
        (
            match host.received_at {
                Some(_) => format!("{name} has not reported for more than {}.", policy.limit),
                None => format!("{name} has enrolled but never reported."),
            },
            String::from("Nothing is known about its clock; every rule treats it as unknown."),
            format!(
                "Check that {name} is up and that truechimer-agent runs and reaches the collector \
                 (`truechimer-agent status` on the host)."
            ),
        )
    };
    Finding {
        rule: RULE,
        policy: policy.name.clone(),
        subject: Finding::about_host(host.host_id),
        answer: if silent { Answer::Certain } else { Answer::Safe },
        near_limit: !silent && overdue(last_heard),
        host: Some(host.host_id),
        peer: None,
        interval: None,
        limit: Some(policy.limit),
        summary,
        consequence,
        advice,
        evidence: if silent {
            alloc::vec![Evidence::span("silence_limit_ns", policy.limit)]
        } else {
            Vec::new()
        },
        listed: silent,
        raise: Some(policy.raise),
    }
}
