use jiff::Timestamp;
use jiff::fmt::strtime;
use store::pages::At;

/// An instant relative to now, with the absolute UTC time beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `12 s ago`
    pub(crate) ago: String,
    /// `12:04 UTC`, with the date unless it is today.
    pub(crate) clock: String,
    /// `2026-11-22 12:04:09 UTC`
    pub(crate) utc: String,
    /// For `<time datetime>`.
    pub(crate) iso: String,
}

impl Moment {
    pub(crate) fn new(at: At, now: At) -> Self {
        let (at, now) = (at.to_jiff(), now.to_jiff());
        let today = format("%F", at) == format("%F", now);
        Self {
            ago: ago(now.as_second() - at.as_second()),
            clock: format(if today { "%H:%M UTC" } else { "%F %H:%M UTC" }, at),
            utc: format("%F %T UTC", at),
            iso: format("%FT%TZ", at),
        }
    }
}

fn format(pattern: &str, at: Timestamp) -> String {
    strtime::format(pattern, at).unwrap_or_default()
}

/// Whole units, the largest that leaves at least two: `95 s ago`, `3 h ago`.
fn ago(seconds: i64) -> String {
    let span = match seconds.unsigned_abs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    };
    if seconds < 0 { format!("in {span}") } else { format!("{span} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that ages read in fitting units and keep the absolute time, date included when not today.
    #[test]
    fn moments_are_relative_and_absolute() {
        let at = |text: &str| At::from(text.parse::<Timestamp>().unwrap());
        let now = at("2026-11-22T12:04:21Z");
        let moment = Moment::new(at("2026-11-22T12:04:09Z"), now);
        assert_eq!((moment.ago.as_str(), moment.clock.as_str()), ("12 s ago", "12:04 UTC"));
        assert_eq!(moment.utc, "2026-11-22 12:04:09 UTC");
        let yesterday = Moment::new(at("2026-11-21T09:00:00Z"), now);
        assert_eq!(
            (yesterday.ago.as_str(), yesterday.clock.as_str()),
            ("27 h ago", "2026-11-21 09:00 UTC")
        );
        assert_eq!(Moment::new(at("2026-11-22T12:05:21Z"), now).ago, "in 60 s");
    }
}
