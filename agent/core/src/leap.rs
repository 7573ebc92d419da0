//! UTC without its leaps: the scale on which answers are compared.
//!
//! UTC repeats a second at an inserted leap second and skips one at a deleted one, so `raw − UTC` jumps
//! while neither clock did anything wrong. The engine therefore keeps all it remembers on a scale that
//! never leaps, and crosses over at its edges only:
//!
//! * a server's stamp is put onto the leap-free scale by the leaps before *that stamp*. A server that
//!   leaps when UTC does goes on evenly there; one that does not contradicts itself by a second;
//! * a stamp near the leap may be of before or after it, and some servers leap early or late by a moment.
//!   Such answers are no measurements: what is remembered carries the window through;
//! * the window is put back onto UTC when it is reported. Where it touches the leap second itself, in
//!   which UTC's number is a matter of convention, it covers both.
//!
//! A leap second of the table is certain, and where the table is valid there is no other. One that only a
//! majority of servers announces is not certain: from its moment on the window covers both cases, until
//! servers have shown which came true, however long nobody is heard.

use alloc::vec::Vec;

use timebase::{Bounds, LeapSecond, LeapTable, SmearState, Span, Timestamp, Utc};

use crate::smear::Smears;

/// How exactly the moment is known at which a smear begins: conventions differ by the leap second.
const SMEAR_SLACK: Span = Span::SECOND;
/// Nobody smears longer than this before or after a leap second.
const SMEARED_AROUND: Span = Span::from_secs(62_500 + 2);

/// The leap seconds known of, and what follows for stamps and windows.
#[derive(Clone, Debug)]
pub(crate) struct LeapScale {
    /// In order.
    known: Vec<Known>,
    /// Keeps the scale where it is when leap seconds of the past become known.
    base: Span,
    /// Servers may leap this much early or late.
    ambiguity: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    leap: LeapSecond,
    /// Whether it is certain to happen, or to have happened.
    sure: bool,
}

/// What a stamp is worth on the leap-free scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Leap-free time less the stamp.
    Clear(Bounds),
    /// Too near a leap second to tell.
    Near,
    /// After a leap second that may not have happened: it would add so much.
    Doubtful(Span),
}

impl LeapScale {
    pub(crate) fn new(ambiguity: Span) -> Self {
        Self { known: Vec::new(), base: Span::ZERO, ambiguity: ambiguity.abs() }
    }

    /// Knows the table's leap seconds for certain from now on. `now`: what time it is, if anything is
    /// remembered that must stay true.
    pub(crate) fn set_table(&mut self, table: &LeapTable, now: Option<Timestamp<Utc>>) {
        let before = now.map(|now| self.before(now));
        let sure = table.leaps().map(|leap| Known { leap, sure: true });
        let shown: Vec<Known> = self.known.iter().filter(|known| known.sure).copied().collect();
        // What was announced for a day that the table covers is in the table, or false.
        self.known.retain(|known| !known.sure && known.leap.at >= table.expires());
        // What was shown to have happened after the table was made stays known.
        let missing = shown.into_iter().filter(|known| known.leap.at >= table.expires());
        self.known.extend(missing);
        for known in sure {
            self.insert(known);
        }
        self.known.sort_by_key(|known| known.leap.at);
        if let (Some(before), Some(now)) = (before, now) {
            self.base = self.base + before - self.before(now);
        }
    }

    fn insert(&mut self, new: Known) {
        self.known.retain(|known| known.leap.at != new.leap.at);
        self.known.push(new);
    }

    /// A majority announces `leap`, or nobody does any more, as of `now`. Whether that is news.
    pub(crate) fn announce(&mut self, leap: Option<LeapSecond>, now: Timestamp<Utc>) -> bool {
        let count = self.known.len();
        let ambiguity = self.ambiguity;
        let near = |known: &Known| now >= known.leap.at - Span::SECOND - ambiguity;
        self.known.retain(|known| known.sure || near(known) || Some(known.leap) == leap);
        let mut news = self.known.len() != count;
        if let Some(leap) = leap
            && self.known.iter().all(|known| known.leap.at != leap.at)
        {
            self.known.push(Known { leap, sure: false });
            self.known.sort_by_key(|known| known.leap.at);
            news = true;
        }
        news
    }

    /// The leap second that should have happened by `now` (leap-free) and that nobody is sure of.
    pub(crate) fn in_doubt(&self, now: Timestamp<Utc>) -> Option<LeapSecond> {
        let due = |known: &&Known| !known.sure && now >= self.happens(known.leap);
        self.known.iter().find(due).map(|known| known.leap)
    }

    /// Settles a doubt.
    pub(crate) fn settle(&mut self, leap: LeapSecond, happened: bool) {
        self.known.retain_mut(|known| {
            known.sure |= known.leap == leap && happened;
            known.leap != leap || happened
        });
    }

    /// The sum of the leaps before a stamp: leap-free time less the stamp, away from leap seconds.
    fn before(&self, stamp: Timestamp<Utc>) -> Span {
        let past = self.known.iter().filter(|known| known.sure && known.leap.at <= stamp);
        self.base + past.map(|known| known.leap.step()).sum()
    }

    /// When a leap second happens on the leap-free scale: an inserted one begins, or a deleted one would
    /// have.
    fn happens(&self, leap: LeapSecond) -> Timestamp<Utc> {
        let begins = begins(leap);
        begins + self.before(begins - Span::NANOSECOND)
    }

    /// Puts a stamp of a server that treats leap seconds in one of these ways onto the leap-free scale.
    pub(crate) fn read(&self, stamp: Timestamp<Utc>, smears: Smears) -> Reading {
        let close = self.close_to(stamp);
        if let Some(known) = close.filter(|known| !known.sure)
            && stamp > known.leap.at + self.ambiguity
        {
            return Reading::Doubtful(known.leap.step());
        }
        let mut all: Option<Bounds> = None;
        for smear in smears.kinds() {
            let Some(one) = self.read_as(stamp, smear, close) else { return Reading::Near };
            all = Some(all.map_or(one, |all| all.hull(one)));
        }
        Reading::Clear(all.unwrap_or(Bounds::point(self.before(stamp))))
    }

    /// As [`read`](Self::read), for one way of treating leap seconds, whatever is in doubt; `None` too
    /// near to a leap to tell.
    pub(crate) fn read_one(&self, stamp: Timestamp<Utc>, smear: SmearState) -> Option<Bounds> {
        self.read_as(stamp, smear, self.close_to(stamp))
    }

    fn read_as(
        &self,
        stamp: Timestamp<Utc>,
        smear: SmearState,
        close: Option<Known>,
    ) -> Option<Bounds> {
        let Some(Known { leap, .. }) = close else {
            return Some(Bounds::point(self.before(stamp)));
        };
        if smear.runs().is_none() {
            let from = leap.at - Span::SECOND - self.ambiguity;
            let near = from <= stamp && stamp <= leap.at + self.ambiguity;
            return (!near).then(|| Bounds::point(self.before(stamp)));
        }
        let (before, happens) = (self.before(leap.at - Span::from_secs(2)), self.happens(leap));
        let worked_in = |slack: Span| {
            // The smear is a function of true time, and true time is the stamp with the smear taken out:
            // at 32 ppm each round is 30,000 times as close.
            let mut done = Span::ZERO;
            for _ in 0..4 {
                let gained = if leap.insert { done } else { -done };
                done = smear.progress(stamp + before + gained - happens + slack);
            }
            if leap.insert { before + done } else { before - done }
        };
        Some(Bounds::between(worked_in(-SMEAR_SLACK), worked_in(SMEAR_SLACK)))
    }

    /// The leap second near enough for smears to matter, or one that is in doubt since.
    fn close_to(&self, stamp: Timestamp<Utc>) -> Option<Known> {
        let close = |known: &&Known| {
            let near = (stamp - known.leap.at).abs() <= SMEARED_AROUND;
            near || !known.sure && stamp > known.leap.at
        };
        self.known.iter().find(close).copied()
    }

    /// The leap second that sources may be smearing at `stamp`.
    pub(crate) fn smeared_at(&self, stamp: Timestamp<Utc>) -> Option<LeapSecond> {
        self.close_to(stamp).map(|known| known.leap)
    }

    /// How much of the leap second near `stamp` such a source has worked in by then.
    pub(crate) fn progress(&self, stamp: Timestamp<Utc>, smear: SmearState) -> Span {
        let Some(known) = self.close_to(stamp) else { return Span::ZERO };
        smear.progress(
            stamp + self.before(known.leap.at - Span::from_secs(2)) - self.happens(known.leap),
        )
    }

    /// Leap-free time less UTC, where leap-free time is between the two.
    pub(crate) fn less_utc(&self, earliest: Timestamp<Utc>, latest: Timestamp<Utc>) -> Bounds {
        // As in `before` and `happens`, summed up on the way: they are in order.
        let (mut sum, mut before) = (Bounds::point(self.base), self.base);
        for Known { leap, sure } in &self.known {
            let (happens, step) = (begins(*leap) + before, leap.step());
            if earliest > happens + Span::SECOND && *sure {
                sum = sum + step;
            } else if latest >= happens {
                sum = sum + Bounds::between(Span::ZERO, step);
            }
            if *sure {
                before += step;
            }
        }
        sum
    }

    /// UTC at a leap-free moment that is known well enough to look into a calendar with.
    pub(crate) fn utc(&self, moment: Timestamp<Utc>) -> Timestamp<Utc> {
        moment - self.less_utc(moment, moment).midpoint()
    }
}

/// The first moment that UTC would have shown otherwise.
fn begins(leap: LeapSecond) -> Timestamp<Utc> {
    if leap.insert { leap.at } else { leap.at - Span::SECOND }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: i64 = 1_483_228_800;

    fn utc(seconds: i64) -> Timestamp<Utc> {
        Timestamp::from_ns(seconds * 1_000_000_000)
    }

    fn leap(insert: bool) -> LeapSecond {
        LeapSecond { at: utc(AT), insert }
    }

    fn scale(insert: bool, sure: bool) -> LeapScale {
        let mut scale = LeapScale::new(Span::from_secs(2));
        scale.announce(Some(leap(insert)), utc(AT - 100));
        if sure {
            scale.settle(leap(insert), true);
        }
        scale
    }

    fn clear(shift: Span) -> Reading {
        Reading::Clear(Bounds::point(shift))
    }

    /// Proves that stamps of before and after a leap second, inserted or deleted, go on evenly on the
    /// leap-free scale, and that stamps near it are not used.
    #[test]
    fn stamps_cross_over_evenly() {
        let steps = Smears::only(SmearState::None);
        for insert in [true, false] {
            let scale = scale(insert, true);
            let step = leap(insert).step();
            assert_eq!(scale.read(utc(AT - 4), steps), clear(Span::ZERO));
            for near in [-3, -1, 0, 2] {
                assert_eq!(scale.read(utc(AT + near), steps), Reading::Near);
            }
            assert_eq!(scale.read(utc(AT + 3), steps), clear(step));
        }
    }

    /// Proves that the reported shift has the leap from its moment on, both cases within the leap second,
    /// and both for as long as nobody is sure of it.
    #[test]
    fn windows_cover_the_leap_second() {
        let second = Bounds::between(Span::ZERO, Span::SECOND);
        let sure = scale(true, true);
        let at = |s: i64| utc(AT) + Span::from_millis(s);
        assert_eq!(sure.less_utc(at(-5), at(-1)), Bounds::point(Span::ZERO));
        assert_eq!(sure.less_utc(at(-5), at(5)), second);
        assert_eq!(sure.less_utc(at(500), at(501)), second);
        assert_eq!(sure.less_utc(at(1001), at(1002)), Bounds::point(Span::SECOND));
        let unsure = scale(true, false);
        assert_eq!(unsure.less_utc(at(5_000), at(5_001)), second);
        assert_eq!(unsure.in_doubt(at(5_000)), Some(leap(true)));
        assert_eq!(unsure.in_doubt(at(-5_000)), None);
        let steps = Smears::only(SmearState::None);
        for later in [5_000, 1_000_000_000] {
            assert_eq!(unsure.read(at(later), steps), Reading::Doubtful(Span::SECOND));
        }
    }

    /// Proves that a warning that is withdrawn before the leap second is forgotten, and that one
    /// withdrawn because the leap second has come is not.
    #[test]
    fn withdrawn_warnings_are_forgotten() {
        let mut scale = scale(true, false);
        assert!(!scale.announce(None, utc(AT)));
        assert!(scale.in_doubt(utc(AT)).is_some());
        assert!(scale.announce(None, utc(AT - 60)));
        assert!(scale.in_doubt(utc(AT + 60)).is_none());
    }

    /// Proves that a table which comes late changes nothing about the present.
    #[test]
    fn the_past_of_a_table_moves_nothing() {
        let text = "#@ 3707596800\n2272060800 10\n2287785600 11\n3692217600 12\n";
        let table = LeapTable::parse(text).unwrap();
        let steps = Smears::only(SmearState::None);
        let now = utc(AT - 1000);
        let mut scale = LeapScale::new(Span::SECOND);
        scale.set_table(&table, Some(now));
        assert_eq!(scale.read(now, steps), clear(Span::ZERO));
        assert_eq!(scale.less_utc(now, now), Bounds::point(Span::ZERO));
        assert_eq!(scale.read(utc(AT + 1000), steps), clear(Span::SECOND));
        let again = utc(AT + 1000);
        scale.set_table(&table, Some(again));
        assert_eq!(scale.read(again, steps), clear(Span::SECOND));
    }

    proptest! {
        /// Proves that whatever a smearing server shows, correcting by its shape gives back true time
        /// within the slack, for inserted and deleted seconds.
        #[test]
        fn smears_are_taken_out(since in -50_000_000_000_000i64..70_000_000_000_000, insert: bool, kind in 1usize..4) {
            let smear = SmearState::ALL[kind];
            let scale = scale(insert, true);
            let happens = if insert { utc(AT) } else { utc(AT - 1) };
            let truth = happens + Span::from_ns(since);
            let done = smear.progress(Span::from_ns(since));
            let shown = if insert { truth - done } else { truth + done };
            let Reading::Clear(shift) = scale.read(shown, Smears::only(smear)) else {
                return Err(TestCaseError::fail("a smeared stamp is always clear"));
            };
            prop_assert!(shift.contains(truth - shown), "{shift} for {}", truth - shown);
            prop_assert!(shift.width() <= Span::from_ns(64_010), "{shift}");
        }
    }
}
