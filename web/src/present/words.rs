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
    use super::*;

    /// Proves that a host is said to have no source only while none answers.
    #[test]
    fn a_host_has_no_source_while_none_answers() {
        assert_eq!(no_source(0, 0, false), Some("no time source configured: window unknown"));
        assert_eq!(no_source(2, 0, false), Some("no time source answers: window unknown"));
        assert_eq!(no_source(2, 0, true), Some("no time source answers: the window grows"));
        assert_eq!(no_source(2, 1, false), None);
    }
}
