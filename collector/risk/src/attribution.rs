//! Whose fault it is, as far as a host's own sources can tell, and what to do about it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use timebase::{Answer, Discipliner, SyncState, Verdict};

use crate::{Evidence, HostView};

/// What to do about a clock that is, or may be, off.
///
/// With one source nobody can tell a wrong server from a wrong clock, so the server is named; with
/// several that agree it is the clock, so the program that should steer it is named.
pub(crate) fn advice(host: &HostView, answer: Answer) -> String {
    let used: Vec<&str> = names(host, Verdict::takes_part);
    let wrong: Vec<&str> = names(host, |verdict| verdict == Verdict::Falseticker);
    let mut advice = match (host.state, used.as_slice()) {
        (SyncState::Starting, _) => {
            format!("{} If the agent has only just started, wait.", no_source(host))
        }
        (SyncState::Holdover | SyncState::FreeRunning, _) | (_, []) => no_source(host),
        _ if answer != Answer::Certain => String::from(
            "Whether the clock is off cannot be told from its window: nearer or more sources make it \
             narrower.",
        ),
        (_, [only]) => format!(
            "Its only source, {only}, decides this alone: check that server first, then give \
             {name} at least four sources, so that a wrong server can be told from a wrong clock.",
            name = host.name
        ),
        (_, several) => format!(
            "Its {n} sources agree, so the clock itself is wrong: {steer}",
            n = several.len(),
            steer = steering(host.discipliner)
        ),
    };
    if !wrong.is_empty() {
        advice.push_str(&format!(" Ignored as wrong: {}.", wrong.join(", ")));
    }
    advice
}

/// The sources and the discipliner, as evidence.
pub(crate) fn evidence(host: &HostView) -> Vec<Evidence> {
    let sources =
        host.sources.iter().map(|s| format!("{} {}", s.name, s.verdict.word())).collect::<Vec<_>>();
    alloc::vec![
        Evidence::text("state", host.state.word()),
        Evidence::text("discipliner", host.discipliner.word()),
        Evidence::list("sources", sources),
    ]
}

fn names(host: &HostView, wanted: impl Fn(Verdict) -> bool) -> Vec<&str> {
    host.sources.iter().filter(|s| wanted(s.verdict)).map(|s| s.name.as_str()).collect()
}

fn no_source(host: &HostView) -> String {
    match host.sources.as_slice() {
        [] => format!("{} has no time source: name some in its agent's configuration.", host.name),
        sources => {
            let reasons: Vec<String> =
                sources.iter().map(|s| format!("{} {}", s.name, s.verdict.explanation())).collect();
            format!("No source is usable: {}. Restore one of them.", reasons.join("; "))
        }
    }
}

fn steering(discipliner: Discipliner) -> String {
    match discipliner {
        Discipliner::None => {
            "nothing that is known steers it. Start a time service, such as chronyd.".to_string()
        }
        Discipliner::Chronyd => {
            "see `chronyc tracking`; `chronyc makestep` corrects it at once.".to_string()
        }
        Discipliner::Timesyncd => "see `timedatectl timesync-status`; restarting \
             systemd-timesyncd corrects it at once."
            .to_string(),
        Discipliner::Agent => {
            "its agent steers it: see why with `truechimer-agent status` there.".to_string()
        }
        other => format!("see why {} does not correct it.", other.word()),
    }
}
