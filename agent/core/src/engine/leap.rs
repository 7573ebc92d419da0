use alloc::vec::Vec;

use timebase::{Bounds, Leap, LeapSecond, LeapTable, Raw, SmearState, Span, Timestamp, Utc};

use super::Engine;
use crate::SourceId;
use crate::crossing::Crossing;
use crate::select::Assessment;
use crate::smear::{Treatment, majority};

/// Answers that came too long ago say nothing new about a smear.
const FRESH: Span = Span::from_secs(2);
/// After this long, sources that were heard after a leap second that was announced, and do not agree on
/// whether it came, never will: what is remembered of them is too wide to tell.
const DOUBT_LASTS: Span = Span::from_secs(3600);
const DAY: Span = Span::from_secs(86_400);

/// The midnight after a moment.
fn end_of_day(utc: Timestamp<Utc>) -> Timestamp<Utc> {
    let day = utc.as_ns().div_euclid(DAY.as_ns());
    Timestamp::from_ns(day.saturating_add(1).saturating_mul(DAY.as_ns()))
}

impl Engine {
    /// The table of leap seconds: certain, where announcements of servers are not.
    pub fn handle_leap_table(&mut self, now: Timestamp<Raw>, table: LeapTable) {
        self.at(now);
        let utc = self.assess(self.now).window.map(|window| self.utc_in(window, self.now));
        self.leaps.set_table(&table, utc);
        self.leap_table = Some(table);
        self.share_leaps();
        self.reassess();
    }

    /// How a source treats leap seconds, by configuration; `None`: to be found out.
    pub fn set_smear(&mut self, source: SourceId, smear: Option<SmearState>) {
        if let Some(source) = self.source(source) {
            source.crossing.set_smear(smear);
        }
    }

    /// Leap warning by the table, or else by the majority.
    pub(super) fn leap_warning(&self, assessment: &Assessment, now: Timestamp<Raw>) -> Leap {
        let Some(window) = assessment.window else { return assessment.leap };
        let utc = self.utc_in(window, now);
        let next = self.leap_table.as_ref().and_then(|table| table.next_after(utc));
        let next = next.filter(|leap| leap.at - utc <= DAY);
        next.map_or_else(|| self.announced(assessment, utc), LeapSecond::warning)
    }

    /// What the majority announces for the end of this day, unless a table that is valid until then
    /// decides: it is certain, and servers pass false warnings on to one another. What was last said
    /// more than a day ago was said of another day.
    fn announced(&self, assessment: &Assessment, utc: Timestamp<Utc>) -> Leap {
        let decided = self.leap_table.as_ref().is_some_and(|t| !t.is_expired(end_of_day(utc)));
        let heard = assessment.majority.iter().filter_map(|i| self.sources[*i].heard()).max();
        let stale = heard.is_none_or(|heard| self.now - heard > DAY);
        if decided || stale { Leap::None } else { assessment.leap }
    }

    /// TAI − UTC by a table that is valid.
    pub(super) fn tai_offset(&self, assessment: &Assessment, now: Timestamp<Raw>) -> Option<i32> {
        let utc = self.utc_in(assessment.window?, now);
        self.leap_table.as_ref()?.tai_offset(utc)
    }

    /// How the sources that the window rests on treat the leap second near by.
    pub(super) fn smear(&self, assessment: &Assessment) -> SmearState {
        let sources = || assessment.majority.iter().map(|i| &self.sources[*i].crossing);
        let treatments: Vec<_> = sources().map(Crossing::treatment).collect();
        if majority(&treatments) != Treatment::Smears {
            return SmearState::None;
        }
        sources().map(Crossing::smear).find(|kind| *kind != SmearState::None).unwrap_or_default()
    }

    /// What a window of `raw −` leap-free time says of leap-free time less UTC: `raw − UTC` is their sum.
    pub(super) fn leap_shift(&self, window: Bounds, now: Timestamp<Raw>) -> Bounds {
        let at = |error: Span| Timestamp::from_ns((now - Timestamp::from_ns(0) - error).as_ns());
        self.leaps.less_utc(at(window.hi()), at(window.lo()))
    }

    /// Leap-free time in the middle of a window.
    fn leap_free(window: Bounds, now: Timestamp<Raw>) -> Timestamp<Utc> {
        Timestamp::from_ns((now - Timestamp::from_ns(0) - window.midpoint()).as_ns())
    }

    fn utc_in(&self, window: Bounds, now: Timestamp<Raw>) -> Timestamp<Utc> {
        self.leaps.utc(Self::leap_free(window, now))
    }

    /// Learns of coming leap seconds, of whether they happened, and of who smears them.
    pub(super) fn follow_leaps(&mut self, assessment: &Assessment) {
        let Some(window) = assessment.window else { return };
        let (leap_free, utc) = (Self::leap_free(window, self.now), self.utc_in(window, self.now));
        let mut news = false;
        if !assessment.majority.is_empty() {
            let announced = self.announced(assessment, utc);
            news |= self.leaps.announce(LeapSecond::announced(announced, utc), utc);
        }
        news |= self.settle_doubt(assessment, leap_free);
        if news {
            self.share_leaps();
        }
        for source in &mut self.sources {
            if source.heard().is_some_and(|heard| self.now - heard <= FRESH) {
                source.crossing.rule_out(window, self.now);
            }
        }
    }

    /// Settles whether a leap second that was announced has come, as soon as most sources have shown it.
    /// While nobody is heard, nobody knows. Whether that is news.
    fn settle_doubt(&mut self, assessment: &Assessment, leap_free: Timestamp<Utc>) -> bool {
        let Some(leap) = self.leaps.in_doubt(leap_free) else {
            self.heard_in_doubt = None;
            return false;
        };
        let crossings = || assessment.majority.iter().map(|i| &self.sources[*i].crossing);
        if crossings().any(Crossing::in_doubt) {
            self.heard_in_doubt.get_or_insert(self.now);
        }
        let (mut all, mut leapt, mut stayed) = (0, 0, 0);
        for shown in crossings().filter_map(Crossing::leapt) {
            all += 1;
            leapt += usize::from(shown == Some(true));
            stayed += usize::from(shown == Some(false));
        }
        if leapt * 2 > all || stayed * 2 > all {
            self.leaps.settle(leap, leapt > stayed);
        } else if self.heard_in_doubt.is_some_and(|since| self.now - since > DOUBT_LASTS) {
            self.begin_anew(leap_free);
        } else {
            return false;
        }
        self.heard_in_doubt = None;
        true
    }

    /// Nothing that is remembered can be compared with what is said after the leap seconds in doubt:
    /// forget it, and them.
    fn begin_anew(&mut self, leap_free: Timestamp<Utc>) {
        while let Some(leap) = self.leaps.in_doubt(leap_free) {
            self.leaps.settle(leap, false);
        }
        for source in &mut self.sources {
            source.handle_jump(self.now);
        }
    }

    fn share_leaps(&mut self) {
        for source in &mut self.sources {
            source.crossing.set_scale(&self.leaps);
        }
    }
}
