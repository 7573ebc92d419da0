use timebase::Span;

use crate::{Random, SourceConfig};

/// RFC 5905 figure 6 allows 4 to 17; shorter intervals are for servers of one's own and for tests.
pub(super) const POLL_RANGE: (i8, i8) = (-4, 17);
/// Requests of a starting burst, and of the one that tells whether a source that contradicted itself
/// has settled.
pub(super) const BURST: u8 = 4;
/// Time between the requests of a burst.
const BURST_SPACING: Span = Span::from_millis(500);
/// Answers in a row before the interval is doubled: as many as the reach register holds.
const STREAK: u8 = 8;
/// Misses in a row before a source is unreachable: the reach register is empty then.
const UNREACHABLE_AFTER: u8 = 8;

/// A burst at every poll is for rare polls: not below this interval.
const BURST_FROM: Span = Span::from_secs(16);

/// How closely the estimator wants a source watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PollNeed {
    /// Something moves: at the shortest interval.
    Closer,
    /// Between two polls at a longer interval the window would grow by more than its own width.
    Stay,
    /// Nothing in particular: ever more rarely while it answers.
    #[default]
    Usual,
}

/// When to ask next, and how well the source has answered.
#[derive(Clone, Debug)]
pub(super) struct Poll {
    min: i8,
    max: i8,
    current: i8,
    /// Raised by RATE kisses: never ask more often than this again.
    floor: i8,
    need: PollNeed,
    /// Whether every poll is a burst.
    bursts: bool,
    burst: u8,
    reach: u8,
    streak: u8,
    misses: u8,
}

impl Poll {
    pub(super) fn new(config: &SourceConfig) -> Self {
        let (least, most) = POLL_RANGE;
        let min = config.min_poll_log2.clamp(least, most);
        Self {
            min,
            max: config.max_poll_log2.clamp(min, most),
            current: min,
            floor: least,
            need: PollNeed::Usual,
            bursts: config.burst,
            burst: if config.iburst { BURST - 1 } else { 0 },
            reach: 0,
            streak: 0,
            misses: 0,
        }
    }

    pub(super) fn reach(&self) -> u8 {
        self.reach
    }

    pub(super) fn current(&self) -> i8 {
        self.current
    }

    pub(super) fn unreachable(&self) -> bool {
        self.misses >= UNREACHABLE_AFTER
    }

    pub(super) fn set_need(&mut self, need: PollNeed) {
        self.need = need;
    }

    pub(super) fn answered(&mut self) {
        self.reach = self.reach << 1 | 1;
        self.misses = 0;
        if self.need == PollNeed::Closer {
            self.faster();
            self.streak = 0;
        }
        self.streak += 1;
        if self.streak >= STREAK {
            self.streak = 0;
            if self.need == PollNeed::Usual {
                self.slower(self.max);
            }
        }
    }

    /// No answer came. The first miss brings the shortest interval back, so that a dead server is
    /// known to be dead after eight of those; then the interval grows again.
    pub(super) fn missed(&mut self) {
        self.reach <<= 1;
        self.streak = 0;
        self.burst = 0;
        self.misses = self.misses.saturating_add(1);
        if self.misses == 1 {
            self.faster();
        } else if self.misses >= UNREACHABLE_AFTER && self.misses.is_multiple_of(2) {
            self.slower(self.max);
        }
    }

    /// The newest answer was no measurement.
    pub(super) fn discount(&mut self) {
        self.reach &= !1;
    }

    /// A kiss came instead of an answer. That is a miss, but no reason to ask sooner.
    pub(super) fn refused(&mut self) {
        self.reach <<= 1;
        self.streak = 0;
        self.burst = 0;
        self.misses = self.misses.saturating_add(1);
        if self.unreachable() && self.misses.is_multiple_of(2) {
            self.slower(self.max);
        }
    }

    /// RATE (RFC 5905 section 7.4): at least double the interval, and never go below again.
    pub(super) fn asked_too_often(&mut self) {
        self.burst = 0;
        self.slower(POLL_RANGE.1);
        self.floor = self.current;
    }

    /// Something changed: look closely for a while, beginning with a burst.
    pub(super) fn hurry(&mut self) {
        self.watch();
        if !self.is_limited() {
            self.burst = BURST - 1;
        }
    }

    /// Something changed: look closely for a while.
    pub(super) fn watch(&mut self) {
        self.faster();
        self.streak = 0;
    }

    /// The least time from one request to the next, for whatever reason it is made.
    pub(super) fn soonest(&self) -> Span {
        if self.is_limited() { interval(self.floor) } else { BURST_SPACING.min(interval(self.min)) }
    }

    /// Whether the server has ever asked to be asked more rarely.
    fn is_limited(&self) -> bool {
        self.floor > POLL_RANGE.0
    }

    /// Time from the last request to the next, using up one request of a burst.
    pub(super) fn next_interval(&mut self, random: &mut Random) -> Span {
        if self.burst > 0 {
            self.burst -= 1;
            return BURST_SPACING.min(interval(self.current));
        }
        let answers = self.reach & 1 == 1 && !self.is_limited();
        if self.bursts && answers && self.interval() >= BURST_FROM {
            self.burst = BURST - 1;
        }
        // Up to 1/16 shorter, so that a fleet started together does not ask together for ever; never
        // below what a RATE kiss demanded.
        let whole = interval(self.current);
        let shorter = (whole.as_ns() >> 4) as f64 * random.unit();
        if self.is_limited() {
            return whole;
        }
        whole - Span::from_ns(shorter as i64)
    }

    /// The interval in force, bursts aside.
    pub(super) fn interval(&self) -> Span {
        interval(self.current)
    }

    fn faster(&mut self) {
        self.current = self.min.max(self.floor);
    }

    fn slower(&mut self, limit: i8) {
        self.current = (self.current + 1).min(limit.max(self.current));
    }
}

fn interval(log2: i8) -> Span {
    if log2 >= 0 {
        Span::from_secs(1 << log2.min(POLL_RANGE.1))
    } else {
        Span::from_ns(1_000_000_000 >> log2.unsigned_abs().min(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(min_poll_log2: i8, max_poll_log2: i8, iburst: bool) -> Poll {
        Poll::new(&SourceConfig { min_poll_log2, max_poll_log2, iburst, ..SourceConfig::default() })
    }

    #[test]
    fn starts_with_a_burst_and_grows_with_steady_answers() {
        let mut random = Random::from_number(1, 1);
        let mut poll = poll(4, 6, true);
        for _ in 0..3 {
            assert_eq!(poll.next_interval(&mut random), BURST_SPACING);
        }
        let interval = poll.next_interval(&mut random);
        assert!(interval > Span::from_secs(14) && interval <= Span::from_secs(16), "{interval}");
        (0..64).for_each(|_| poll.answered());
        assert_eq!((poll.current(), poll.reach()), (6, 0xff));
    }

    #[test]
    fn an_interval_that_is_long_enough_does_not_grow() {
        let mut poll = poll(4, 10, false);
        poll.set_need(PollNeed::Stay);
        (0..64).for_each(|_| poll.answered());
        assert_eq!(poll.current(), 4);
        poll.set_need(PollNeed::Usual);
        (0..64).for_each(|_| poll.answered());
        assert_eq!(poll.current(), 10);
    }

    #[test]
    fn a_rate_kiss_is_never_forgotten() {
        let mut poll = poll(4, 6, true);
        poll.asked_too_often();
        poll.asked_too_often();
        poll.asked_too_often();
        assert_eq!(poll.current(), 7);
        poll.missed();
        poll.hurry();
        let mut random = Random::from_number(1, 1);
        assert_eq!(poll.next_interval(&mut random), Span::from_secs(128));
    }

    #[test]
    fn a_kiss_is_a_miss_and_hastens_nothing() {
        let mut poll = poll(4, 10, true);
        (0..64).for_each(|_| poll.answered());
        assert_eq!((poll.current(), poll.soonest()), (10, BURST_SPACING));
        poll.refused();
        assert_eq!((poll.current(), poll.reach()), (10, 0xfe));
        poll.asked_too_often();
        assert_eq!((poll.current(), poll.soonest()), (11, Span::from_secs(2048)));
        (0..7).for_each(|_| poll.refused());
        assert!(poll.unreachable());
        assert!(poll.current() >= 11);
    }

    #[test]
    fn eight_misses_make_it_unreachable_and_one_answer_cures() {
        let mut poll = poll(4, 6, false);
        poll.answered();
        for miss in 1..=8 {
            assert!(!poll.unreachable(), "{miss}");
            poll.missed();
        }
        assert!(poll.unreachable());
        assert_eq!(poll.reach(), 0);
        (0..300).for_each(|_| poll.missed());
        assert_eq!(poll.current(), 6);
        poll.answered();
        assert!(!poll.unreachable());
    }

    #[test]
    fn bursts_at_every_poll_while_answered() {
        let config = SourceConfig { iburst: false, burst: true, ..SourceConfig::default() };
        let mut poll = Poll::new(&config);
        let mut random = Random::from_number(1, 1);
        assert!(poll.next_interval(&mut random) > Span::from_secs(59), "not before it answered");
        poll.answered();
        assert!(poll.next_interval(&mut random) > Span::from_secs(59));
        for _ in 0..3 {
            assert_eq!(poll.next_interval(&mut random), BURST_SPACING);
        }
        assert!(poll.next_interval(&mut random) > Span::from_secs(59));
        poll.missed();
        assert!(poll.next_interval(&mut random) > Span::from_secs(59), "nor when it is silent");
        poll.asked_too_often();
        poll.answered();
        assert!(poll.next_interval(&mut random) > Span::from_secs(59));
        assert!(poll.next_interval(&mut random) > Span::from_secs(59), "nor after RATE");
    }

    #[test]
    fn a_need_brings_the_shortest_interval_back() {
        let mut poll = poll(4, 6, false);
        (0..64).for_each(|_| poll.answered());
        poll.set_need(PollNeed::Closer);
        (0..64).for_each(|_| poll.answered());
        assert_eq!(poll.current(), 4);
    }
}
