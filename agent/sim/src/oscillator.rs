use timebase::{Raw, Span, Timestamp, Utc};

use crate::Rng;

/// A free-running crystal: what CLOCK_MONOTONIC_RAW counts.
///
/// Its rate is a constant error plus a random walk, held within `limit_ppm` as a real crystal's is.
#[derive(Clone, Debug)]
pub struct Oscillator {
    rate_ppm: f64,
    walk_ppm_per_sqrt_s: f64,
    limit_ppm: f64,
    rng: Rng,
    at: Timestamp<Utc>,
    raw: Timestamp<Raw>,
    /// What rounding to whole nanoseconds has left over.
    rest_ns: f64,
}

impl Oscillator {
    /// A crystal that shows `raw` at true time `at`, is off by `rate_ppm` and wanders by
    /// `walk_ppm_per_sqrt_s`, never further than `limit_ppm`.
    pub fn new(
        at: Timestamp<Utc>,
        raw: Timestamp<Raw>,
        rate_ppm: f64,
        walk_ppm_per_sqrt_s: f64,
        limit_ppm: f64,
        rng: Rng,
    ) -> Self {
        Self { rate_ppm, walk_ppm_per_sqrt_s, limit_ppm, rng, at, raw, rest_ns: 0.0 }
    }

    /// Lets true time pass until `at` (never backwards) and returns what the crystal shows then.
    pub fn advance(&mut self, at: Timestamp<Utc>) -> Timestamp<Raw> {
        let elapsed = at - self.at;
        if elapsed > Span::ZERO {
            let seconds = elapsed.as_secs_f64();
            let walk = self.walk_ppm_per_sqrt_s * libm::sqrt(seconds) * self.rng.normal();
            self.rate_ppm = (self.rate_ppm + walk).clamp(-self.limit_ppm, self.limit_ppm);
            let gained = elapsed.as_ns() as f64 * self.rate_ppm * 1e-6 + self.rest_ns;
            let whole = libm::floor(gained);
            self.rest_ns = gained - whole;
            self.raw = self.raw + elapsed + Span::from_ns(whole as i64);
            self.at = at;
        }
        self.raw
    }

    /// The true time at which the crystal will show `raw`, if it keeps its present rate.
    pub fn when(&self, raw: Timestamp<Raw>) -> Timestamp<Utc> {
        let ahead = (raw - self.raw).as_ns() as f64;
        self.at + Span::from_ns(libm::ceil(ahead / (1.0 + self.rate_ppm * 1e-6)) as i64)
    }

    /// The present rate error, parts per million; positive runs fast.
    pub const fn rate_ppm(&self) -> f64 {
        self.rate_ppm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crystal 10 ppm fast gains 10 µs a second, whether time passes in one piece or in many.
    #[test]
    fn a_constant_rate_adds_up_exactly() {
        let start = Timestamp::from_ns(1_000_000_000);
        let make = || Oscillator::new(start, Timestamp::from_ns(0), 10.0, 0.0, 50.0, Rng::new(1));
        let (mut once, mut often) = (make(), make());
        let raw = once.advance(start + Span::from_secs(1));
        assert_eq!(raw.as_ns(), 1_000_010_000);
        for k in 1..=1000 {
            often.advance(start + Span::from_millis(k));
        }
        assert!((often.raw - raw).abs() <= Span::NANOSECOND);
        assert_eq!(once.when(Timestamp::from_ns(2_000_020_000)), start + Span::from_secs(2));
    }
}
