use alloc::collections::VecDeque;

use timebase::{Raw, Span, Timestamp};

use crate::ClockReading;

/// Readings kept, and the least time between two of them: the rate rests on about a minute.
const KEPT: usize = 9;
const APART: Span = Span::from_secs(8);
/// A shorter time says nothing about a rate.
const LEAST: Span = Span::from_millis(900);
/// A reading wider than this was preempted.
const WIDEST: Span = Span::from_ns(10_000);
/// What a kernel can add beside the frequency set (adjtime, a phase-locked loop); more is a step.
const MOST: f64 = 600e-6;

/// How the system clock obeys: its rate against the raw clock, beyond the frequency that was set.
///
/// Zero on an ordinary kernel. A correction that somebody began before (adjtime), or a clock that is
/// not quite the kernel's (a simulator's), shows here and is allowed for.
#[derive(Clone, Debug)]
pub(super) struct Obedience {
    /// The frequency in force, as a fraction, and since when.
    frequency: f64,
    since: Timestamp<Raw>,
    /// Seconds gained by the frequencies set until `since`.
    gained: f64,
    readings: VecDeque<(Timestamp<Raw>, Span, f64)>,
    excess: f64,
}

impl Obedience {
    pub(super) fn new(now: Timestamp<Raw>) -> Self {
        Self { frequency: 0.0, since: now, gained: 0.0, readings: VecDeque::new(), excess: 0.0 }
    }

    /// Rate beyond what was set, as a fraction.
    pub(super) fn excess(&self) -> f64 {
        self.excess
    }

    pub(super) fn frequency(&self) -> f64 {
        self.frequency
    }

    /// Seconds that the frequencies set have added to the clock until `now`.
    pub(super) fn gained(&self, now: Timestamp<Raw>) -> f64 {
        self.gained + self.frequency * (now - self.since).as_secs_f64()
    }

    /// From `now` on this frequency is in force.
    pub(super) fn set(&mut self, now: Timestamp<Raw>, frequency: f64) {
        self.gained = self.gained(now);
        self.since = self.since.max(now);
        self.frequency = frequency;
    }

    /// The clock was set, or the host slept: what was read before says nothing any more.
    pub(super) fn interrupted(&mut self) {
        self.readings.clear();
    }

    pub(super) fn observe(&mut self, reading: ClockReading) {
        if reading.uncertainty > WIDEST {
            return;
        }
        let (now, difference, gained) =
            (reading.raw, reading.difference(), self.gained(reading.raw));
        let rate_since = |(at, before, gained_before): (Timestamp<Raw>, Span, f64)| {
            let beyond = (difference - before).as_secs_f64() - (gained - gained_before);
            beyond / (now - at).as_secs_f64()
        };
        if let Some(&last) = self.readings.back() {
            if now - last.0 >= LEAST && rate_since(last).abs() > MOST {
                self.readings.clear();
            } else if let Some(&first) = self.readings.front().filter(|r| now - r.0 >= LEAST) {
                self.excess = rate_since(first);
            }
            if self.readings.back().is_some_and(|last| now - last.0 < APART) {
                return;
            }
        }
        if self.readings.len() == KEPT {
            self.readings.pop_front();
        }
        self.readings.push_back((now, difference, gained));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: i64, difference: f64) -> ClockReading {
        let raw = Timestamp::from_ns(at_ms * 1_000_000);
        let ns = raw.as_ns() + (difference * 1e9) as i64;
        ClockReading { raw, realtime: Timestamp::from_ns(ns), uncertainty: Span::from_ns(50) }
    }

    /// Proves that what a clock does beyond the frequency set is found, through changes of it, and that
    /// a step neither counts as a rate nor spoils the one known.
    #[test]
    fn a_rate_of_its_own_is_found() {
        let mut clock = Obedience::new(Timestamp::from_ns(0));
        let mut difference = 0.0;
        for second in 0..100 {
            clock.observe(reading(second * 1000, difference));
            let frequency = f64::from(second as i32 % 7) * 50e-6;
            clock.set(Timestamp::from_ns(second * 1_000_000_000), frequency);
            difference += frequency + 10e-6;
        }
        assert!((clock.excess() - 10e-6).abs() < 1e-9, "{}", clock.excess());
        clock.observe(reading(101_000, difference + 0.5));
        assert!((clock.excess() - 10e-6).abs() < 1e-9, "{}", clock.excess());
    }
}
