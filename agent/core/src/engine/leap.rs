use alloc::vec::Vec;

use timebase::{Bounds, Leap, LeapSecond, LeapTable, Raw, SmearState, Span, Timestamp, Utc};

use super::Engine;
use crate::SourceId;
use crate::crossing::Crossing;
use crate::select::Assessment;
use crate::smear::{Treatment, majority};

/// Answers that came too long ago say nothing new about a smear.
const FRESH: Span = Span::from_secs(2);
/// After this long without proof, a leap second that was announced is taken to have happened: whoever
/// did not leap then contradicts himself, which is better than a window that is a second wide for good.
const DOUBT_LASTS: Span = Span::from_secs(3600);

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
        let next = next.filter(|leap| leap.at - utc <= Span::from_secs(86_400));
        next.map_or(assessment.leap, LeapSecond::warning)
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
            news |= self.leaps.announce(LeapSecond::announced(assessment.leap, utc), utc);
        }
        if let Some(leap) = self.leaps.in_doubt(leap_free) {
            let shown =
                assessment.majority.iter().filter_map(|i| self.sources[*i].crossing.leapt());
            let (mut all, mut leapt, mut stayed) = (0, 0, 0);
            for shown in shown {
                all += 1;
                leapt += usize::from(shown == Some(true));
                stayed += usize::from(shown == Some(false));
            }
            let overdue = leap_free - leap.at > DOUBT_LASTS;
            if leapt * 2 > all || stayed * 2 > all || overdue {
                self.leaps.settle(leap, leapt >= stayed);
                news = true;
            }
        }
        if news {
            self.share_leaps();
        }
        for source in &mut self.sources {
            if source.heard().is_some_and(|heard| self.now - heard <= FRESH) {
                source.crossing.rule_out(window, self.now);
            }
        }
    }

    fn share_leaps(&mut self) {
        for source in &mut self.sources {
            source.crossing.set_scale(&self.leaps);
        }
    }
}
