//! When a host has something to send, and what.

use crate::options::LightOptions;

/// Consecutive reports of one host: all that is needed to make them, or to make them again.
/// Times are nanoseconds of the world's elapsed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// When the first was made, and the time from one to the next.
    pub(crate) at_ns: i64,
    pub(crate) step_ns: i64,
}

impl Stretch {
    /// The number of its last report.
    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// Without the reports up to and including `seq`; `None`: nothing is left.
    pub(crate) fn after(self, seq: u64) -> Option<Self> {
        if seq < self.first {
            return Some(self);
        }
        let gone = u32::try_from(seq - self.first + 1).ok().filter(|gone| *gone < self.count)?;
        Some(Self {
            first: self.first + u64::from(gone),
            count: self.count - gone,
            at_ns: self.at_ns + i64::from(gone) * self.step_ns,
            ..self
        })
    }
}

/// What a host does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Send(Stretch),
    /// Nothing before this moment.
    Wait(i64),
}

/// How one host makes its reports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// One every interval, whatever the collector does: what was not sent waits, as in a spool.
    Steady { interval_ns: i64, first_ns: i64, per_batch: u32 },
    /// A batch as soon as there is room for one; its reports fill the time since the last.
    Flood { per_batch: u32 },
}

impl Pace {
    /// `share` in 0..1 places the host's first report within its interval.
    pub(crate) fn new(options: &LightOptions, interval_ns: i64, now_ns: i64, share: f64) -> Self {
        let per_batch = options.reports_per_batch;
        if options.max_rate {
            return Self::Flood { per_batch };
        }
        // Hosts that gather several reports are also spread over that longer time.
        let gathered = interval_ns as f64 * (f64::from(per_batch) - 1.0);
        let first_ns = now_ns + (interval_ns as f64 * share - gathered * (1.0 - share)) as i64;
        Self::Steady { interval_ns, first_ns, per_batch }
    }

    /// What follows `sent`, with at most `most` reports.
    pub(crate) fn next(&self, sent: &Sent, now_ns: i64, most: u32) -> Next {
        match *self {
            Self::Steady { interval_ns, first_ns, per_batch } => {
                let at = |seq: u64| first_ns + (seq as i64 - 1) * interval_ns;
                let first = sent.last + 1;
                let complete = at(sent.last + u64::from(per_batch.min(most)));
                if now_ns < complete {
                    return Next::Wait(complete);
                }
                let waiting = (now_ns - at(first)) / interval_ns + 1;
                let count = u32::try_from(waiting).unwrap_or(most).min(most);
                Next::Send(Stretch { first, count, at_ns: at(first), step_ns: interval_ns })
            }
            Self::Flood { per_batch } => {
                let count = per_batch.min(most);
                let step_ns = (now_ns - sent.at_ns) / i64::from(count);
                if step_ns <= 0 {
                    return Next::Wait(sent.at_ns + i64::from(count));
                }
                let at_ns = sent.at_ns + step_ns;
                Next::Send(Stretch { first: sent.last + 1, count, at_ns, step_ns })
            }
        }
    }
}

/// How far a host has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Number of its last report that was ever sent.
    pub(crate) last: u64,
    /// When that was made.
    pub(crate) at_ns: i64,
}

impl Sent {
    /// After this stretch.
    pub(crate) fn advance(&mut self, stretch: &Stretch) {
        self.last = stretch.last();
        self.at_ns = stretch.at_ns + i64::from(stretch.count - 1) * stretch.step_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEADY: Pace = Pace::Steady { interval_ns: 10, first_ns: 105, per_batch: 1 };

    /// Proves that a steady host sends each report when it is made, and after an outage what has waited,
    /// a batch at a time, in order and without a gap.
    #[test]
    fn what_waits_is_sent_in_order() {
        let mut sent = Sent::default();
        assert_eq!(STEADY.next(&sent, 104, 4), Next::Wait(105));
        let mut seen = Vec::new();
        while let Next::Send(stretch) = STEADY.next(&sent, 200, 4) {
            seen.push((stretch.first, stretch.count, stretch.at_ns));
            sent.advance(&stretch);
        }
        assert_eq!(seen, [(1, 4, 105), (5, 4, 145), (9, 2, 185)]);
        assert_eq!(STEADY.next(&sent, 200, 4), Next::Wait(205));
    }

    /// Proves that a host that gathers six waits for the sixth.
    #[test]
    fn reports_are_gathered() {
        let pace = Pace::Steady { interval_ns: 10, first_ns: 0, per_batch: 6 };
        let sent = Sent::default();
        assert_eq!(pace.next(&sent, 49, 64), Next::Wait(50));
        let all = Stretch { first: 1, count: 6, at_ns: 0, step_ns: 10 };
        assert_eq!(pace.next(&sent, 50, 64), Next::Send(all));
    }

    /// Proves that a flood has no report of the future and none older than the one before it.
    #[test]
    fn a_flood_stays_in_order() {
        let pace = Pace::Flood { per_batch: 6 };
        let mut sent = Sent::default();
        for now in [3, 100, 101, 160, 1_000] {
            if let Next::Send(stretch) = pace.next(&sent, now, 64) {
                let before = sent.at_ns;
                sent.advance(&stretch);
                assert!(stretch.at_ns > before && sent.at_ns <= now, "{stretch:?} at {now}");
            }
        }
        assert_eq!(sent.last, 18);
    }

    /// Proves that what the collector has is not sent again, and what it lacks is.
    #[test]
    fn a_stretch_is_cut_at_the_watermark() {
        let stretch = Stretch { first: 5, count: 3, at_ns: 50, step_ns: 10 };
        assert_eq!(stretch.last(), 7);
        assert_eq!(stretch.after(4), Some(stretch));
        assert_eq!(stretch.after(6), Some(Stretch { first: 7, count: 1, at_ns: 70, step_ns: 10 }));
        assert_eq!(stretch.after(7), None);
        assert_eq!(stretch.after(100), None);
    }
}
