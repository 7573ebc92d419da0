use std::collections::VecDeque;

use agent_core::{ClockReading, Stamp};
use timebase::{Bounds, Host, Ppb, Raw, Span, StampKind, Timestamp};

use crate::sys::clock;

/// Clock readings kept: samples older than these are of no use.
const KEPT: usize = 32;
/// The system clock can be slewed by a tenth, and by some more with all that can be added to that: what
/// moves faster was set.
const FASTEST_SLEW: Ppb = Ppb::from_ppm(102_000);

/// Turns stamps of the system clock into stamps of the raw one, by what both showed before and after.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    readings: VecDeque<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    clock: ClockReading,
    suspended: Option<Bounds>,
}

impl Stamps {
    /// Reads both clocks: to be done regularly, and before samples are translated.
    pub(super) fn read(&mut self) {
        let suspended = clock::suspended_so_far();
        self.push(Moment { clock: clock::cross_read(), suspended });
    }

    fn push(&mut self, moment: Moment) {
        if self.readings.len() == KEPT {
            self.readings.pop_front();
        }
        self.readings.push_back(moment);
    }

    /// What the raw clock showed when the system clock was between the two; `None` if the clock was set
    /// or the host asleep around then, or if it is too long ago.
    pub(super) fn on_raw(
        &self,
        earliest: Timestamp<Host>,
        latest: Timestamp<Host>,
        kind: StampKind,
    ) -> Option<Stamp> {
        let readings = &self.readings;
        let was_before =
            |moment: &Moment| moment.clock.realtime - moment.clock.uncertainty <= earliest;
        let is_after = |moment: &Moment| moment.clock.realtime + moment.clock.uncertainty >= latest;
        let first = readings.iter().rposition(was_before)?;
        let last = first + readings.iter().skip(first).position(is_after)?;
        let between = || readings.iter().skip(first).take(last - first + 1);
        if clock::suspended_between(readings[first].suspended, readings[last].suspended).is_some() {
            return None;
        }
        let differences = || {
            between()
                .map(|moment| Bounds::around(moment.clock.difference(), moment.clock.uncertainty))
        };
        // Whatever the clock did between the readings, the stamp becomes as wide as that.
        let hull = differences().reduce(Bounds::hull)?;
        let blur = differences().map(Bounds::width).max()?;
        let elapsed = readings[last].clock.raw - readings[first].clock.raw;
        if hull.width() > FASTEST_SLEW.over(elapsed) + blur.times(2) {
            return None;
        }
        let on_raw = |stamp: Timestamp<Host>, difference: Span| -> Timestamp<Raw> {
            Timestamp::from_ns(stamp.as_ns().saturating_sub(difference.as_ns()))
        };
        Some(Stamp {
            earliest: on_raw(earliest, hull.hi()),
            latest: on_raw(latest, hull.lo()),
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(readings: &[(i64, i64)]) -> Stamps {
        let mut stamps = Stamps::default();
        for (raw, difference) in readings {
            let clock = ClockReading {
                raw: Timestamp::from_ns(*raw),
                realtime: Timestamp::from_ns(raw + difference),
                uncertainty: Span::from_ns(10),
            };
            stamps.push(Moment { clock, suspended: Some(Bounds::point(Span::ZERO)) });
        }
        stamps
    }

    fn on_raw(stamps: &Stamps, at: i64) -> Option<(i64, i64)> {
        let at = Timestamp::from_ns(at);
        let stamp = stamps.on_raw(at, at, StampKind::User)?;
        Some((stamp.earliest.as_ns(), stamp.latest.as_ns()))
    }

    /// Proves that a stamp is translated by the readings on its two sides and no others.
    #[test]
    fn stamps_are_translated_by_their_neighbours() {
        let stamps = stamps(&[
            (0, 900_000),
            (1_000_000, 900_000),
            (2_000_000, 900_100),
            (3_000_000, 900_100),
        ]);
        assert_eq!(on_raw(&stamps, 2_400_000), Some((1_499_890, 1_500_010)));
        assert_eq!(on_raw(&stamps, 3_400_000), Some((2_499_890, 2_499_910)));
    }

    /// Proves that a clock which is slewed as fast as clocks can be makes stamps wider, not useless.
    #[test]
    fn a_fast_slew_makes_stamps_wider() {
        // A tenth faster, in half a second.
        let stamps = stamps(&[(0, 900_000), (500_000_000, 900_000 + 50_000_000)]);
        assert_eq!(on_raw(&stamps, 300_900_000), Some((249_999_990, 300_000_010)));
    }

    /// Proves that a stamp of before the first reading, of after the last, or of around a step gives
    /// nothing.
    #[test]
    fn what_cannot_be_translated_is_not() {
        let stamps = stamps(&[(0, 900_000), (1_000_000, 900_000), (2_000_000, 5_900_000)]);
        assert_eq!(on_raw(&stamps, 800_000), None);
        assert_eq!(on_raw(&stamps, 9_000_000), None);
        assert_eq!(on_raw(&stamps, 2_500_000), None);
        assert!(on_raw(&stamps, 1_500_000).is_some());
    }
}
