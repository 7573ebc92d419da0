use timebase::{Raw, Span, Timestamp, Utc};

use crate::Rng;

/// The rate of a crystal is constant over pieces of this length, whoever looks and however often.
const PIECE_NS: i64 = 1_000_000_000;
/// Flicker is a sum of noises held for 1, 4, 16, … pieces: the longest for 18 hours.
const FLICKERS: usize = 9;

/// A rate that changes once and stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateStep {
    /// When, after the host's first boot.
    pub after: Span,
    /// By how much.
    pub ppm: f64,
    /// How slowly: 63 % of it is there after this time. Zero for a jump.
    pub settles: Span,
}

/// A rate that swings: day and night, air conditioning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swing {
    /// Amplitude.
    pub ppm: f64,
    /// From one maximum to the next.
    pub period: Span,
}

/// The knobs of a crystal. All noises are parts per million of rate, and none by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Crystal {
    /// Constant rate error; positive runs fast.
    pub rate_ppm: f64,
    /// White frequency noise: Allan deviation at one second.
    pub white_ppm: f64,
    /// Flicker: the floor of the Allan deviation.
    pub flicker_ppm: f64,
    /// Random walk of the rate, per square root of a second.
    pub walk_ppm: f64,
    /// Swings with the temperature.
    pub swings: Vec<Swing>,
    /// Changes of rate: thermal steps, or the jumps of an aged crystal.
    pub steps: Vec<RateStep>,
    /// The rate never leaves ± this, as a real crystal's does not; zero for no limit.
    pub limit_ppm: f64,
}

impl Crystal {
    /// A crystal of constant rate.
    pub fn steady(rate_ppm: f64) -> Self {
        Self { rate_ppm, ..Self::default() }
    }

    /// An ordinary computer's: 4 ppm fast, wandering, no temperature swings.
    pub fn ordinary() -> Self {
        Self {
            rate_ppm: 4.0,
            white_ppm: 1e-3,
            flicker_ppm: 1e-3,
            walk_ppm: 1e-4,
            limit_ppm: 40.0,
            ..Self::default()
        }
    }

    /// The deterministic part of the rate, ppm.
    fn planned(&self, since: Span) -> f64 {
        let swing = |s: &Swing| {
            let turns = since.as_secs_f64() / s.period.as_secs_f64();
            s.ppm * libm::sin(turns * core::f64::consts::TAU)
        };
        let step = |s: &RateStep| {
            let age = (since - s.after).as_secs_f64();
            match s.settles.as_secs_f64() {
                _ if age < 0.0 => 0.0,
                settles if settles > 0.0 => s.ppm * (1.0 - libm::exp(-age / settles)),
                _ => s.ppm,
            }
        };
        let swings: f64 = self.swings.iter().map(swing).sum();
        let steps: f64 = self.steps.iter().map(step).sum();
        self.rate_ppm + swings + steps
    }
}

/// A free-running crystal: what CLOCK_MONOTONIC_RAW counts.
#[derive(Clone, Debug)]
pub struct Oscillator {
    crystal: Crystal,
    rng: Rng,
    /// Where the plan of swings and steps begins.
    epoch: Timestamp<Utc>,
    /// The present piece: when it began, what the crystal showed, and the rest below a nanosecond.
    piece: (Timestamp<Utc>, Timestamp<Raw>, f64),
    pieces: u64,
    walk_ppm: f64,
    flicker_ppm: [f64; FLICKERS],
    rate_ppm: f64,
    at: Timestamp<Utc>,
    raw: Timestamp<Raw>,
}

impl Oscillator {
    /// A crystal that shows `raw` at true time `at`; its plan of swings and steps began at `epoch`.
    pub fn new(
        at: Timestamp<Utc>,
        raw: Timestamp<Raw>,
        crystal: Crystal,
        epoch: Timestamp<Utc>,
        rng: Rng,
    ) -> Self {
        let mut oscillator = Self {
            crystal,
            rng,
            epoch,
            piece: (at, raw, 0.0),
            pieces: 0,
            walk_ppm: 0.0,
            flicker_ppm: [0.0; FLICKERS],
            rate_ppm: 0.0,
            at,
            raw,
        };
        oscillator.choose_rate();
        oscillator
    }

    /// Lets true time pass until `at` (never backwards) and returns what the crystal shows then.
    pub fn advance(&mut self, at: Timestamp<Utc>) -> Timestamp<Raw> {
        if at <= self.at {
            return self.raw;
        }
        while at - self.piece.0 >= Span::from_ns(PIECE_NS) {
            let gained = PIECE_NS as f64 * self.rate_ppm * 1e-6 + self.piece.2;
            let whole = libm::floor(gained);
            let raw = self.piece.1 + Span::from_ns(PIECE_NS + whole as i64);
            self.piece = (self.piece.0 + Span::from_ns(PIECE_NS), raw, gained - whole);
            self.pieces += 1;
            self.choose_rate();
        }
        let elapsed = at - self.piece.0;
        let gained = libm::floor(elapsed.as_ns() as f64 * self.rate_ppm * 1e-6 + self.piece.2);
        self.raw = self.piece.1 + elapsed + Span::from_ns(gained as i64);
        self.at = at;
        self.raw
    }

    /// The host sleeps from now until `until`: the crystal does not count.
    pub fn sleep(&mut self, until: Timestamp<Utc>) {
        let before = self.raw;
        let slept = self.advance(until) - before;
        self.piece.1 = self.piece.1 - slept;
        self.raw = before;
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

    /// Draws the rate of the piece that begins.
    fn choose_rate(&mut self) {
        let crystal = &self.crystal;
        let mut ppm = crystal.planned(self.piece.0 - self.epoch);
        if crystal.white_ppm > 0.0 {
            ppm += crystal.white_ppm * self.rng.normal();
        }
        if crystal.flicker_ppm > 0.0 {
            for (k, held) in self.flicker_ppm.iter_mut().enumerate() {
                if self.pieces.is_multiple_of(1 << (2 * k)) {
                    *held = crystal.flicker_ppm * self.rng.normal();
                }
                ppm += *held;
            }
        }
        if crystal.walk_ppm > 0.0 {
            self.walk_ppm += crystal.walk_ppm * self.rng.normal();
            ppm += self.walk_ppm;
        }
        let limit = crystal.limit_ppm;
        self.rate_ppm = if limit > 0.0 { ppm.clamp(-limit, limit) } else { ppm };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp<Utc> = Timestamp::from_ns(1_000_000_000);

    fn make(crystal: Crystal) -> Oscillator {
        Oscillator::new(START, Timestamp::from_ns(0), crystal, START, Rng::new(1))
    }

    /// A crystal 10 ppm fast gains 10 µs a second.
    #[test]
    fn a_constant_rate_adds_up_exactly() {
        let mut oscillator = make(Crystal::steady(10.0));
        assert_eq!(oscillator.advance(START + Span::from_secs(1)).as_ns(), 1_000_010_000);
        let due = Timestamp::from_ns(2_000_020_000);
        assert_eq!(oscillator.when(due), START + Span::from_secs(2));
    }

    /// Watching changes nothing: a noisy crystal shows the same, read once or every millisecond.
    #[test]
    fn how_often_it_is_read_makes_no_difference() {
        let (mut once, mut often) = (make(Crystal::ordinary()), make(Crystal::ordinary()));
        for k in 1..=10_000 {
            often.advance(START + Span::from_millis(k));
        }
        assert_eq!(once.advance(START + Span::from_secs(10)), often.raw);
    }

    /// A sleeping crystal counts nothing, and goes on where it stopped.
    #[test]
    fn sleep_is_not_counted() {
        let mut oscillator = make(Crystal::steady(10.0));
        oscillator.advance(START + Span::from_millis(1500));
        oscillator.sleep(START + Span::from_millis(100_700));
        assert_eq!(oscillator.raw.as_ns(), 1_500_015_000);
        let after = oscillator.advance(START + Span::from_millis(101_700));
        assert!((after.as_ns() - 2_500_025_000).abs() <= 1, "{after:?}");
    }

    /// Each noise has the size its knob names: Allan deviation of white and flicker noise, spread of the
    /// walk.
    #[test]
    fn noises_are_as_large_as_their_knobs_say() {
        let phases = |crystal: Crystal, n: i64| -> Vec<f64> {
            let mut oscillator = make(crystal);
            let read = |k| {
                (oscillator.advance(START + Span::from_secs(k)).as_ns() - k * 1_000_000_000) as f64
            };
            (0..n).map(read).collect()
        };
        // Allan deviation at `m` seconds, in ppm.
        let adev = |x: &[f64], m: usize| {
            let second = |i: usize| (x[i + 2 * m] - 2.0 * x[i + m] + x[i]) / (m as f64 * 1e3);
            let n = x.len() - 2 * m;
            let sum: f64 = (0..n).map(|i| second(i) * second(i)).sum();
            libm::sqrt(sum / (2.0 * n as f64))
        };
        let white = phases(Crystal { white_ppm: 0.1, ..Crystal::default() }, 20_000);
        assert!((adev(&white, 1) / 0.1 - 1.0).abs() < 0.1, "{}", adev(&white, 1));
        assert!((adev(&white, 100) / 0.01 - 1.0).abs() < 0.3, "{}", adev(&white, 100));
        let flicker = phases(Crystal { flicker_ppm: 0.1, ..Crystal::default() }, 40_000);
        for m in [4, 64, 1000] {
            let ratio = adev(&flicker, m) / 0.1;
            assert!((0.5..2.0).contains(&ratio), "{m}: {ratio}");
        }
        let walk = phases(Crystal { walk_ppm: 1e-3, ..Crystal::default() }, 40_000);
        let expected = 1e-3 * libm::sqrt(100.0 / 3.0);
        assert!((adev(&walk, 100) / expected - 1.0).abs() < 0.3, "{}", adev(&walk, 100));
    }
}
