use core::fmt;
use core::ops::{Add, Neg};

use crate::Span;

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
}
