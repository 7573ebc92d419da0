//! Sentences.

use timebase::{Bounds, Span};

/// Where a clock is: "700 to 720 ms ahead", "between 5.00 ms behind and 20.0 ms ahead".
pub(crate) fn ahead_or_behind(error: Bounds) -> String {
    if error.lo() >= Span::ZERO {
        format!("{} ahead", range(error.lo(), error.hi()))
    } else if error.hi() <= Span::ZERO {
        format!("{} behind", range(-error.hi(), -error.lo()))
    } else {
        format!("between {} behind and {} ahead", -error.lo(), error.hi())
    }
}

/// "700 to 720 ms", or one value if both ends read alike.
fn range(lo: Span, hi: Span) -> String {
    let (lo, hi) = (lo.to_string(), hi.to_string());
    match (lo.split_once(' '), hi.split_once(' ')) {
        _ if lo == hi => hi,
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} to {hi}"),
        _ => format!("{lo} to {hi}"),
    }
}

/// "1 host", "3 hosts".
pub(crate) fn count(n: i64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

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

    /// Proves that sentences say ahead or behind, with one unit where one is enough.
    #[test]
    fn intervals_read_as_people_say_them() {
        let ms = |lo, hi| Bounds::between(Span::from_millis(lo), Span::from_millis(hi));
        for (bounds, text) in [
            (ms(700, 720), "700 to 720 ms ahead"),
            (ms(-720, -700), "700 to 720 ms behind"),
            (ms(700, 1200), "700 ms to 1.20 s ahead"),
            (ms(-5, 20), "between 5.00 ms behind and 20.0 ms ahead"),
            (ms(3, 3), "3.00 ms ahead"),
        ] {
            assert_eq!(ahead_or_behind(bounds), text);
        }
        assert_eq!(no_source(2, 0, false), Some("no time source answers: window unknown"));
        assert_eq!(no_source(2, 1, false), None);
        assert_eq!(count(1, "host"), "1 host");
    }
}
