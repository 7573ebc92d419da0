use timebase::{Ppb, Span};

use crate::ClockReading;

/// No daemon slews faster than the kernel's tick can be set (±10 %); more is a step for certain.
const FASTEST_SLEW: Ppb = Ppb::from_ppm(100_000);
/// Frequency (±500 ppm) and phase correction of everyday disciplining, with the oscillator's own error.
const ORDINARY_SLEW: Ppb = Ppb::from_ppm(1_100);

/// Tells a step of the system clock from its being slewed, by how `realtime − raw` changes.
///
/// Beyond the fastest slew it is a step at once. A smaller jump may also be a fast slew (chronyd may use
/// 8 %): then the next reading goes on in the same way, and if instead it is quiet, it was a step.
#[derive(Clone, Debug)]
pub(crate) struct StepDetector {
    last: ClockReading,
    slewing: bool,
    suspected: Option<Span>,
}

impl StepDetector {
    pub(crate) fn new(now: ClockReading) -> Self {
        Self { last: now, slewing: false, suspected: None }
    }

    /// The size of the step that this reading proves, positive forward. `steered` is what the agent's own
    /// steering has added since the last reading.
    pub(crate) fn observe(&mut self, reading: ClockReading, steered: Span) -> Option<Span> {
        let elapsed = reading.raw - self.last.raw;
        if elapsed.is_negative() {
            return None;
        }
        let change = reading.difference() - self.last.difference() - steered;
        let noise = reading.uncertainty + self.last.uncertainty;
        self.last = reading;
        let suspected = self.suspected.take();
        if change.abs() > FASTEST_SLEW.over(elapsed) + noise {
            self.slewing = false;
            return Some(change + suspected.unwrap_or(Span::ZERO));
        }
        if change.abs() > ORDINARY_SLEW.over(elapsed) + noise {
            if !self.slewing {
                self.suspected = Some(change);
            }
            self.slewing = true;
            return None;
        }
        self.slewing = false;
        suspected
    }

    /// A jump that is known not to be a step: begin anew from here.
    pub(crate) fn restart(&mut self, now: ClockReading) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Timestamp;

    fn at(raw_ms: i64, difference_us: i64) -> ClockReading {
        ClockReading {
            raw: Timestamp::from_ns(raw_ms * 1_000_000),
            realtime: Timestamp::from_ns(1_000_000_000 + raw_ms * 1_000_000 + difference_us * 1000),
            uncertainty: Span::from_ns(500),
        }
    }

    fn observe(detector: &mut StepDetector, reading: ClockReading) -> Option<Span> {
        detector.observe(reading, Span::ZERO)
    }

    #[test]
    fn large_steps_are_seen_at_once_in_both_directions() {
        let mut detector = StepDetector::new(at(0, 0));
        assert_eq!(observe(&mut detector, at(1000, 700_000)), Some(Span::from_millis(700)));
        assert_eq!(observe(&mut detector, at(1001, 0)), Some(Span::from_millis(-700)));
        assert_eq!(observe(&mut detector, at(2001, 20)), None);
    }

    #[test]
    fn a_small_step_is_known_at_the_next_quiet_reading() {
        let mut detector = StepDetector::new(at(0, 0));
        assert_eq!(observe(&mut detector, at(1000, 30_000)), None);
        assert_eq!(observe(&mut detector, at(2000, 30_100)), Some(Span::from_millis(30)));
        assert_eq!(observe(&mut detector, at(3000, 30_200)), None);
    }

    #[test]
    fn slewing_fast_or_slow_is_no_step() {
        let mut detector = StepDetector::new(at(0, 0));
        for i in 1..20 {
            assert_eq!(observe(&mut detector, at(i * 1000, i * 80_000)), None, "fast {i}");
        }
        let mut detector = StepDetector::new(at(0, 0));
        for i in 1..20 {
            assert_eq!(observe(&mut detector, at(i * 1000, i * 500)), None, "slow {i}");
        }
    }
}
