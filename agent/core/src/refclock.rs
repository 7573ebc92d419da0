//! Reference clocks: devices and programs on this host that say what time it is, without being asked.
//!
//! A sample is one moment on the raw clock and what UTC was then. It is taken as an exchange of no
//! length, so that bounds, estimates, leaps and votes are those of any other source: `Λ` is half the
//! configured delay, the precision, and what the driver itself says of the sample.
//!
//! **Filter.** Programs give samples more often than they are needed, and some of them are late ones.
//! Of each poll interval the median is taken: it is a sample that was really given, with its own moment,
//! so its bounds hold, and a minority of spikes does not reach it.
//!
//! **Pulses.** A pulse per second says that a second begins, not which. It is numbered by the window of
//! the other sources, if only one second begins in it; until then a pulse is refused. Once numbered, its
//! own history, which drifts by microseconds between two pulses, can number the next. So a pulse alone
//! never gives a window, and a pulse that has been numbered holds one as long as it comes.

use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Bounds, Exchange, Leap, Raw, SourceKind, SourceReport, Span, Timestamp, Utc};

use crate::ntp::Answer;
use crate::{SourceOptions, Stamp};

/// Samples kept of one poll interval; more tell nothing more.
const MOST_SAMPLES: usize = 64;
/// The first interval is no longer than this: a window is wanted soon.
const FIRST: Span = Span::from_secs(2);
/// Poll intervals without a sample before the clock counts as unreachable, as for NTP.
const UNREACHABLE_AFTER: u32 = 8;

/// One reference clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefclockConfig {
    /// What it is called in reports.
    pub name: String,
    /// Where it is: a path, or the key of a memory segment.
    pub address: String,
    /// What kind it is.
    pub kind: SourceKind,
    /// Four letters for reports, such as `GPS`, padded with zeros.
    pub reference_id: [u8; 4],
    /// One sample is taken of every 2^poll seconds.
    pub poll_log2: i8,
    /// How coarse its readings are.
    pub precision: Span,
    /// Its readings may be late by up to half of this, or early.
    pub delay: Span,
    /// Added to the time that it shows, where its constant error is known.
    pub offset: Span,
    /// For a pulse: the name of the source that numbers it, instead of the majority.
    pub lock: Option<String>,
    /// What part it takes in the selection.
    pub options: SourceOptions,
}

/// What a reference clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefclockSample {
    /// When, on the raw clock.
    pub at: Stamp,
    /// What time it was then.
    pub time: RefclockTime,
    /// How far that may be off, beside what is configured.
    pub uncertainty: Span,
    /// A leap second that it announces.
    pub leap: Leap,
}

/// What time a reference clock said it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefclockTime {
    /// This.
    Utc(Timestamp<Utc>),
    /// The beginning of some second.
    Pulse,
}

/// Protocol side of a reference clock: its filter and its reach.
#[derive(Clone, Debug)]
pub(crate) struct Refclock {
    config: RefclockConfig,
    samples: Vec<Sample>,
    due: Timestamp<Raw>,
    reach: u8,
    misses: u32,
    leap: Leap,
}

/// A sample whose second is known.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Stamp,
    utc: Timestamp<Utc>,
    root_distance: Span,
}

impl Refclock {
    pub(crate) fn new(config: RefclockConfig, now: Timestamp<Raw>) -> Self {
        let config = RefclockConfig { poll_log2: config.poll_log2.clamp(-4, 17), ..config };
        let due = now + interval(config.poll_log2).min(FIRST);
        Self { config, samples: Vec::new(), due, reach: 0, misses: 0, leap: Leap::None }
    }

    pub(crate) fn config(&self) -> &RefclockConfig {
        &self.config
    }

    pub(crate) fn unreachable(&self) -> bool {
        self.misses >= UNREACHABLE_AFTER
    }

    pub(crate) fn leap(&self) -> Leap {
        self.leap
    }

    /// When the poll interval ends.
    pub(crate) fn due(&self) -> Timestamp<Raw> {
        self.due
    }

    pub(crate) fn has_sample(&self, now: Timestamp<Raw>) -> bool {
        self.due <= now && !self.samples.is_empty()
    }

    pub(crate) fn forget(&mut self) {
        self.samples.clear();
    }

    /// Half the delay, and what else the time may be off by.
    pub(crate) fn root_distance(&self, uncertainty: Span) -> Span {
        self.config.delay.abs().half() + self.config.precision.abs() + uncertainty.abs()
    }

    /// Takes a sample into the filter.
    pub(crate) fn take(&mut self, sample: &RefclockSample, utc: Timestamp<Utc>) {
        self.leap = sample.leap;
        if self.samples.len() < MOST_SAMPLES {
            let root_distance = self.root_distance(sample.uncertainty);
            self.samples.push(Sample {
                at: sample.at,
                utc: utc + self.config.offset,
                root_distance,
            });
        }
    }

    /// At the end of a poll interval: the median of its samples, or that there were none.
    pub(crate) fn poll(&mut self, now: Timestamp<Raw>) -> Option<Option<Answer>> {
        if now < self.due {
            return None;
        }
        let interval = interval(self.config.poll_log2);
        self.due = self.due + interval;
        if self.due <= now {
            self.due = now + interval;
        }
        let (middle, heard) = (self.samples.len() / 2, !self.samples.is_empty());
        self.samples.sort_unstable_by_key(Sample::offset);
        let median = self.samples.drain(..).nth(middle);
        self.reach = self.reach << 1 | u8::from(heard);
        self.misses = if heard { 0 } else { self.misses.saturating_add(1) };
        let answer = |sample: Sample| Answer {
            exchange: sample.exchange(),
            held: Span::ZERO,
            stamps: sample.at.kind,
        };
        Some(median.map(answer))
    }

    /// Puts into a report what of it is not of NTP.
    pub(crate) fn describe(&self, report: &mut SourceReport) {
        report.kind = self.config.kind;
        report.address.clone_from(&self.config.address);
        report.reach = self.reach;
        report.poll_log2 = self.config.poll_log2;
        report.stratum = 0;
        report.reference_id = u32::from_be_bytes(self.config.reference_id);
        report.root_delay = self.config.delay;
        report.root_dispersion = self.config.precision;
    }
}

impl Sample {
    /// `raw − UTC`.
    fn offset(&self) -> i64 {
        let moment = self.at.earliest + (self.at.latest - self.at.earliest).half();
        moment.as_ns().saturating_sub(self.utc.as_ns())
    }

    fn exchange(&self) -> Exchange<Raw> {
        Exchange {
            t1: self.at.earliest,
            t2: self.utc,
            t3: self.utc,
            t4: self.at.latest,
            root_distance: self.root_distance,
        }
    }
}

fn interval(poll_log2: i8) -> Span {
    let second = Span::SECOND.as_ns();
    let log2 = i32::from(poll_log2);
    Span::from_ns(if log2 < 0 { second >> -log2 } else { second << log2 })
}

/// The second that begins at `at`, where `raw −` UTC is in `window`: `None` if it may be one of several.
/// If none begins within the window, the pulse is wrong, and its nearest second will say so.
pub(crate) fn second_at(at: &Stamp, window: Bounds, offset: Span) -> Option<Timestamp<Utc>> {
    let second = i128::from(Span::SECOND.as_ns());
    let utc = |raw: Timestamp<Raw>, error: Span| {
        i128::from(raw.as_ns()) - i128::from(error.as_ns()) - i128::from(offset.as_ns())
    };
    let (earliest, latest) = (utc(at.earliest, window.hi()), utc(at.latest, window.lo()));
    if latest - earliest >= second / 2 {
        return None;
    }
    // Less than half a second wide, so at most one second begins in it, and else one is nearest.
    let nearest = ((earliest + latest) / 2 + second / 2).div_euclid(second);
    i64::try_from(nearest * second).ok().map(Timestamp::from_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::StampKind;

    fn config() -> RefclockConfig {
        RefclockConfig {
            name: "GPS".into(),
            address: "/run/gps.sock".into(),
            kind: SourceKind::Sock,
            reference_id: *b"GPS\0",
            poll_log2: 4,
            precision: Span::MICROSECOND,
            delay: Span::from_millis(2),
            offset: Span::from_millis(100),
            lock: None,
            options: SourceOptions::default(),
        }
    }

    fn sample(at_ms: i64, utc_ms: i64) -> (RefclockSample, Timestamp<Utc>) {
        let at = Timestamp::from_ns(at_ms * 1_000_000);
        let utc = Timestamp::from_ns(utc_ms * 1_000_000);
        let at = Stamp::exact(at, StampKind::User);
        let time = RefclockTime::Utc(utc);
        (RefclockSample { at, time, uncertainty: Span::ZERO, leap: Leap::None }, utc)
    }

    /// Proves that of an interval the median is taken with its configured error, that spikes do not
    /// reach it, and that silence is noticed and cured.
    #[test]
    fn the_median_of_each_interval_is_taken() {
        let start = Timestamp::from_ns(0);
        let mut clock = Refclock::new(config(), start);
        assert!(clock.poll(start + FIRST).unwrap().is_none());
        for (at, utc) in
            [(1_000, 6_000), (2_000, 7_001), (3_000, 7_500), (4_000, 9_002), (5_000, 17_000)]
        {
            let (sample, utc) = sample(at, utc);
            clock.take(&sample, utc);
        }
        assert!(clock.poll(start + Span::from_secs(17)).is_none());
        let answer = clock.poll(start + Span::from_secs(18)).unwrap().unwrap();
        assert_eq!(answer.exchange.t4.as_ns(), 2_000_000_000);
        assert_eq!(answer.exchange.t3.as_ns(), 7_101_000_000);
        assert_eq!(answer.exchange.root_distance, Span::from_ns(1_001_000));
        for i in 2..10 {
            assert!(!clock.unreachable());
            assert!(clock.poll(start + Span::from_secs(16 * i + 2)).unwrap().is_none());
        }
        assert!(clock.unreachable());
        let (sample, utc) = sample(161_000, 166_000);
        clock.take(&sample, utc);
        assert!(clock.poll(start + Span::from_secs(178)).unwrap().is_some());
        assert!(!clock.unreachable());
    }

    /// Proves that samples beyond all need are not kept.
    #[test]
    fn floods_are_not_kept() {
        let mut clock = Refclock::new(config(), Timestamp::from_ns(0));
        for i in 0..10_000 {
            let (sample, utc) = sample(i, 5_000 + i);
            clock.take(&sample, utc);
        }
        assert_eq!(clock.samples.len(), MOST_SAMPLES);
    }

    /// Proves that a pulse is numbered if one second is possible and not if several are.
    #[test]
    fn pulses_are_numbered_by_the_window() {
        let at = Stamp::exact(Timestamp::from_ns(5_000_000_000), StampKind::Kernel);
        let around = |ms, radius| Bounds::around(Span::from_millis(ms), Span::from_millis(radius));
        let number = |window| second_at(&at, window, Span::ZERO).map(Timestamp::as_ns);
        assert_eq!(number(around(-2_003, 10)), Some(7_000_000_000));
        assert_eq!(number(around(-2_100, 200)), Some(7_000_000_000));
        assert_eq!(number(around(-2_003, 300)), None);
        assert_eq!(number(Bounds::UNBOUNDED), None);
        // Off by 100 ms, where the window is 20 ms wide: named by the nearest, to be proved wrong.
        assert_eq!(number(around(-2_100, 10)), Some(7_000_000_000));
        let late = second_at(&at, around(-2_000, 10), Span::from_millis(200));
        assert_eq!(late.map(Timestamp::as_ns), Some(7_000_000_000));
    }
}
