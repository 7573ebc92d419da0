use timebase::{Ppb, Span};

use crate::ClockReading;

/// How far the system clock may have strayed, since the last report, from the straight line between that
/// report and the next: who knows it can tell what the system clock showed at any moment between the two.
///
/// The kernel says at both ends at what rate it runs the clock. If it kept to those rates, changing over
/// once, the clock is nowhere farther from the line than either rate would take it by the other end. A
/// slew that it does not tell of (`adjtime`, the phase correction of NTP's loop) is part of what the clock
/// gained, and so of the same figure. What is left out is a clock slewed away and back between two
/// readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stray {
    from: ClockReading,
    rate: Ppb,
    /// Farthest that a reading since was from where `rate` leads.
    farthest: Span,
    noise: Span,
}

impl Stray {
    /// Begins at a reading at which the kernel said to correct the clock by `rate`.
    pub(crate) fn new(from: ClockReading, rate: Ppb) -> Self {
        Self { from, rate, farthest: Span::ZERO, noise: from.uncertainty }
    }

    /// A reading on the way.
    pub(crate) fn observe(&mut self, reading: ClockReading) {
        self.farthest = self.farthest.max(self.missed(reading, self.rate));
        self.noise = self.noise.max(reading.uncertainty);
    }

    /// The most that the clock strayed from the line that ends here, where the kernel says `rate`.
    pub(crate) fn until(mut self, end: ClockReading, rate: Ppb) -> Span {
        let missed = self.missed(end, self.rate);
        // Where it was farther than at the end, it was so on top of the line's own slant.
        let between = if self.farthest > missed { self.farthest + missed } else { missed };
        self.observe(end);
        // Both ends of the line and every point seen on it are as good as their readings.
        between.max(self.missed(end, rate)) + self.noise + self.noise
    }

    /// Distance of a reading from where `rate` leads.
    fn missed(&self, reading: ClockReading, rate: Ppb) -> Span {
        let gained = reading.difference() - self.from.difference();
        let told = rate.over(reading.raw - self.from.raw);
        let told = if rate < Ppb::new(0) { -told } else { told };
        (gained - told).abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Timestamp;

    const NOISE: Span = Span::from_ns(50);

    fn at(raw_ms: i64, gained_ns: i64) -> ClockReading {
        let raw = Timestamp::from_ns(raw_ms * 1_000_000);
        let realtime = Timestamp::from_ns(raw.as_ns() + 1_000_000_000 + gained_ns);
        ClockReading { raw, realtime, uncertainty: NOISE }
    }

    /// Proves that a clock that runs as the kernel says strays by no more than readings err.
    #[test]
    fn a_steady_clock_does_not_stray() {
        let rate = Ppb::from_ppm(-12);
        let mut stray = Stray::new(at(0, 0), rate);
        stray.observe(at(4_000, -48_000));
        assert_eq!(stray.until(at(10_000, -120_000), rate), NOISE + NOISE);
    }

    /// Proves that a change of the rate, told or not, bounds what the clock did between: 100 ppm for the
    /// last 3 of 10 seconds put it 210 µs off the line.
    #[test]
    fn a_bend_is_within_the_bound() {
        for told in [Ppb::from_ppm(100), Ppb::from_ppm(0)] {
            let mut stray = Stray::new(at(0, 0), Ppb::from_ppm(0));
            stray.observe(at(7_000, 0));
            let bound = stray.until(at(10_000, 300_000), told);
            assert!(bound >= Span::from_ns(210_000), "{bound}");
            assert!(bound <= Span::from_millis(1), "{bound}");
        }
    }

    /// Proves that a slew away and back counts if a reading saw it.
    #[test]
    fn away_and_back_is_seen_by_a_reading() {
        let mut stray = Stray::new(at(0, 0), Ppb::from_ppm(0));
        stray.observe(at(5_000, 500_000));
        let bound = stray.until(at(10_000, 0), Ppb::from_ppm(0));
        assert_eq!(bound, Span::from_ns(500_000) + NOISE + NOISE);
    }
}
