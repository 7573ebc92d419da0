//! Sentences.

/// What a synchronisation state means.
pub(crate) fn state_words(word: &str) -> &'static str {
    match word {
        "starting" => "the agent has no window yet",
        "synchronised" => "a majority of sources answers",
        "holdover" => "no source answers; the window grows from the last that did",
        "free-running" => "no source ever answered, or the window has grown beyond use",
        "stepped" => "the clock was stepped within the last report interval",
        _ => "never reported",
    }
}

/// Who steers the clock, as the host's page calls them.
pub(crate) fn discipliner_words(word: &str) -> &str {
    match word {
        "agent" => "this agent",
        other => other,
    }
}

/// What a kind of source is; empty for NTP servers, which most are.
pub(crate) fn kind_words(word: &str) -> &'static str {
    match word {
        "sock" => "samples that a program on the host sends to a socket",
        "shm" => "samples that a program on the host puts into shared memory",
        "pps" => "a pulse per second",
        "phc" => "a hardware clock of PTP",
        _ => "",
    }
}

/// How leap seconds are treated; empty for those who step, as UTC does.
pub(crate) fn smear_words(word: &str) -> &'static str {
    match word {
        "quadratic" => "smears a leap second over 62,500 s from the leap on, slowly at both ends",
        "linear" => "smears a leap second evenly over 62,500 s from the leap on",
        "linear-24h" => "smears a leap second evenly from noon to noon around it",
        _ => "",
    }
}

/// What is said of a host none of whose sources answers; `None` while one does.
pub(crate) fn no_source(sources: i64, reachable: i64, has_window: bool) -> Option<&'static str> {
    match (sources, reachable, has_window) {
        (0, _, false) => Some("no time source configured: window unknown"),
        (_, 0, false) => Some("no time source answers: window unknown"),
        (1.., 0, true) => Some("no time source answers: the window grows"),
        _ => None,
    }
}

/// The reason of an alert's change.
pub(crate) fn reason_words(reason: &str) -> &'static str {
    match reason {
        "opened" => "opened",
        "worsened" => "got worse",
        "eased" => "eased",
        "resolved" => "resolved",
        _ => "changed",
    }
}

/// What a tier of the store holds.
pub(crate) fn tier_words(tier: &str) -> &'static str {
    match tier {
        "raw" => "samples as they came",
        "late" => "samples that came after their hour was repacked, until they are repacked too",
        "samples" => "every sample, repacked by hours",
        "minutes" => "extremes of each minute",
        "hours" => "extremes of each hour",
        "events" => "steps, reboots, suspends, changes of sources",
        _ => "",
    }
}

/// Why reports are refused, and what to do; empty for a reason of a newer collector.
pub(crate) fn refusal_words(reason: &str) -> &'static str {
    match reason {
        "malformed" => {
            "A field is missing or out of range. Bring the agent to the collector's version."
        }
        "out-of-order" => "Numbers went back. Two agents with one state directory do so.",
        "from-the-future" => {
            "Made after the batch that carries it was sent: the raw clock of the host goes wrong."
        }
        "batch-too-large" => {
            "More reports at once than the collector allows. Bring the agent to the collector's version."
        }
        "bad-stamps" => "The batch has no raw stamp of its own boot, or one of another.",
        "bad-witness" => {
            "The stamps of an exchange contradict each other: a clock went backwards meanwhile."
        }
        "over-quota" => {
            "More reports than [ingest] reports-per-second allows; the agent sends them later."
        }
        "wrong-host" => "The credential is another host's. Enrol this one with a token of its own.",
        "revoked" => "The credential was revoked. Stop the agent, or enrol the host again.",
        "slow-reader" => "The agent does not read the answers that it is sent.",
        "protocol" => "Messages came in a wrong order. Bring the agent to the collector's version.",
        "unstorable" => "The database refuses the rows; the collector's log says why.",
        _ => "",
    }
}

/// What the status of a message means.
pub(crate) fn status_words(status: &str) -> &'static str {
    match status {
        "delivered" => "the receiver took it",
        "pending" => "waits for its next attempt",
        "parked" => "given up after the last attempt; it is kept here",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use timebase::{SmearState, SourceKind};

    use super::*;

    /// Proves that every kind of source and every smear is explained, but for the ordinary one.
    #[test]
    fn what_is_not_ordinary_is_explained() {
        for kind in SourceKind::ALL {
            assert_eq!(kind_words(kind.word()).is_empty(), kind == SourceKind::Ntp, "{kind:?}");
        }
        for smear in SmearState::ALL {
            assert_eq!(
                smear_words(smear.word()).is_empty(),
                smear == SmearState::None,
                "{smear:?}"
            );
        }
    }

    /// Proves that a host is said to have no source only while none answers.
    #[test]
    fn a_host_has_no_source_while_none_answers() {
        assert_eq!(no_source(0, 0, false), Some("no time source configured: window unknown"));
        assert_eq!(no_source(2, 0, false), Some("no time source answers: window unknown"));
        assert_eq!(no_source(2, 0, true), Some("no time source answers: the window grows"));
        assert_eq!(no_source(2, 1, false), None);
    }
}
