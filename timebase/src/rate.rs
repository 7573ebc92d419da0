use core::fmt;
use core::ops::{Add, Neg};

use crate::{Bounds, Span};

/// A frequency error in parts per billion: nanoseconds gained per second. Positive runs fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ppb(i64);

impl Ppb {
    /// `ppb` parts per billion.
    pub const fn new(ppb: i64) -> Self {
        Self(ppb)
    }

    /// `ppm` parts per million.
    pub const fn from_ppm(ppm: i64) -> Self {
        Self(ppm.saturating_mul(1000))
    }

    /// Parts per billion.
    pub const fn as_ppb(self) -> i64 {
        self.0
    }

    /// The magnitude, saturating.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// The most that a clock with this rate error can gain or lose over `elapsed`, rounded up.
    pub fn over(self, elapsed: Span) -> Span {
        let exact = i128::from(self.0.unsigned_abs()) * i128::from(elapsed.as_ns().unsigned_abs());
        let rounded_up = exact.div_euclid(1_000_000_000) + i128::from(exact % 1_000_000_000 != 0);
        Span::from_ns(i64::try_from(rounded_up).unwrap_or(i64::MAX))
    }
}

impl Add for Ppb {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Neg for Ppb {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// The interval certain to contain an oscillator's frequency error. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateBounds {
    lo: Ppb,
    hi: Ppb,
}

impl RateBounds {
    /// `[lo, hi]`, or `None` if that is empty.
    pub fn new(lo: Ppb, hi: Ppb) -> Option<Self> {
        (lo <= hi).then_some(Self { lo, hi })
    }

    /// `± limit`.
    pub fn within(limit: Ppb) -> Self {
        Self { lo: -limit.abs(), hi: limit.abs() }
    }

    /// The slowest possible rate.
    pub const fn lo(self) -> Ppb {
        self.lo
    }

    /// The fastest possible rate.
    pub const fn hi(self) -> Ppb {
        self.hi
    }

    /// The largest magnitude inside: a symmetric limit that covers the interval.
    pub fn magnitude(self) -> Ppb {
        self.lo.abs().max(self.hi.abs())
    }

    /// Wider by `by` on each side.
    pub fn widen(self, by: Ppb) -> Self {
        Self { lo: self.lo + -by.abs(), hi: self.hi + by.abs() }
    }

    /// The part both allow, or `None` if they contradict each other.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.lo.max(other.lo), self.hi.min(other.hi))
    }

    /// What the oscillator can have gained over `elapsed`, which must not be negative.
    pub fn over(self, elapsed: Span) -> Bounds {
        let gain = |rate: Ppb| {
            let whole = rate.abs().over(elapsed);
            if rate < Ppb::new(0) { -whole } else { whole }
        };
        // Rounded away from zero at each end; the end nearer to zero is taken in by a nanosecond.
        let (lo, hi) = (gain(self.lo), gain(self.hi));
        let lo = if self.lo > Ppb::new(0) { lo - Span::NANOSECOND } else { lo };
        let hi = if self.hi < Ppb::new(0) { hi + Span::NANOSECOND } else { hi };
        Bounds::between(lo, hi)
    }
}

impl fmt::Display for RateBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.lo, self.hi)
    }
}

impl fmt::Display for Ppb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "−" } else { "" };
        let ppb = self.0.unsigned_abs();
        match ppb {
            0..1_000 => write!(f, "{sign}{ppb} ppb"),
            1_000..100_000 => write!(f, "{sign}{}.{:02} ppm", ppb / 1000, ppb % 1000 / 10),
            _ => write!(f, "{sign}{} ppm", ppb / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_rounded_up_and_saturates() {
        assert_eq!(Ppb::from_ppm(1).over(Span::SECOND), Span::from_ns(1_000));
        assert_eq!(Ppb::new(1).over(Span::from_ns(1)), Span::from_ns(1));
        assert_eq!(Ppb::new(-5).over(Span::ZERO), Span::ZERO);
        assert_eq!(Ppb::new(i64::MAX).over(Span::MAX), Span::MAX);
        assert_eq!(Ppb::new(i64::MIN).abs() + Ppb::new(1), Ppb::new(i64::MAX));
    }

    #[test]
    fn what_an_oscillator_gains_is_bounded_outwards() {
        let rates = |lo, hi| RateBounds::new(Ppb::new(lo), Ppb::new(hi)).unwrap();
        let ns = |lo, hi| Bounds::new(Span::from_ns(lo), Span::from_ns(hi)).unwrap();
        let half = Span::from_millis(500);
        assert_eq!(rates(-3, 5).over(half), ns(-2, 3));
        assert_eq!(rates(3, 5).over(half), ns(1, 3));
        assert_eq!(rates(-5, -3).over(half), ns(-3, -1));
        assert_eq!(rates(3, 3).over(Span::SECOND), ns(2, 3));
        assert_eq!(RateBounds::within(Ppb::new(-7)).magnitude(), Ppb::new(7));
    }
}
