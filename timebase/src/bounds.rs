use core::fmt;
use core::ops::{Add, Neg, Sub};

use crate::{Answer, ClockWindow, Host, Ppb, Span, Timestamp};

/// The interval certain to contain a clock's error, `lo ≤ clock − UTC ≤ hi`. Positive is ahead.
///
/// Never empty: `lo ≤ hi` always holds. Asymmetric on purpose: what is known about "at most this far
/// ahead" and "at most this far behind" comes from different packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    lo: Span,
    hi: Span,
}

impl Bounds {
    /// Nothing known.
    pub const UNBOUNDED: Self = Self { lo: Span::MIN, hi: Span::MAX };

    /// `[lo, hi]`, or `None` if that is empty: two claims that cannot both be true.
    pub fn new(lo: Span, hi: Span) -> Option<Self> {
        (lo <= hi).then_some(Self { lo, hi })
    }

    /// `[a, b]` or `[b, a]`, whichever is not empty.
    pub fn between(a: Span, b: Span) -> Self {
        Self { lo: a.min(b), hi: a.max(b) }
    }

    /// Exactly `at`.
    pub const fn point(at: Span) -> Self {
        Self { lo: at, hi: at }
    }

    /// `centre ± radius`.
    pub fn around(centre: Span, radius: Span) -> Self {
        Self { lo: centre - radius.abs(), hi: centre + radius.abs() }
    }

    /// The least error possible.
    pub const fn lo(self) -> Span {
        self.lo
    }

    /// The greatest error possible.
    pub const fn hi(self) -> Span {
        self.hi
    }

    /// `hi − lo`.
    pub fn width(self) -> Span {
        self.hi - self.lo
    }

    /// The middle. A guess, not a measurement: use it only where one number is wanted and none better
    /// is known.
    pub fn midpoint(self) -> Span {
        let sum = i128::from(self.lo.as_ns()) + i128::from(self.hi.as_ns());
        // The mean of two i64 is an i64.
        Span::from_ns(sum.div_euclid(2) as i64)
    }

    /// The largest magnitude inside.
    pub fn magnitude(self) -> Span {
        self.lo.abs().max(self.hi.abs())
    }

    /// The smallest magnitude inside; zero if the interval spans zero.
    pub fn least_magnitude(self) -> Span {
        if self.contains(Span::ZERO) { Span::ZERO } else { self.lo.abs().min(self.hi.abs()) }
    }

    /// Whether both ends are known.
    pub fn is_bounded(self) -> bool {
        self.lo > Span::MIN && self.hi < Span::MAX
    }

    /// Whether `error` lies inside.
    pub fn contains(self, error: Span) -> bool {
        self.lo <= error && error <= self.hi
    }

    /// The part both allow, or `None` if they contradict each other.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.lo.max(other.lo), self.hi.min(other.hi))
    }

    /// The smallest interval that covers both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Wider by `by` on each side.
    #[must_use]
    pub fn widen(self, by: Span) -> Self {
        Self { lo: self.lo - by.abs(), hi: self.hi + by.abs() }
    }

    /// What still holds after `elapsed`, if the oscillator is off by at most `drift`.
    #[must_use]
    pub fn aged(self, elapsed: Span, drift: Ppb) -> Self {
        self.widen(drift.over(elapsed))
    }

    /// The nearest value inside.
    pub fn clamp(self, error: Span) -> Span {
        error.clamp(self.lo, self.hi)
    }

    /// Where true time lies when a clock with this error shows `reading`.
    pub fn window_at(self, reading: Timestamp<Host>) -> ClockWindow {
        ClockWindow::new(reading.corrected(self.hi), reading.corrected(self.lo)).unwrap_or_else(
            || unreachable!("invariant: lo ≤ hi, and correcting reverses the order"),
        )
    }

    /// Whether the error is beyond `± limit`: certainly, possibly, or certainly not.
    pub fn beyond(self, limit: Span) -> Answer {
        if self.lo > limit || self.hi < -limit {
            Answer::Certain
        } else if self.hi > limit || self.lo < -limit {
            Answer::Possible
        } else {
            Answer::Safe
        }
    }

    /// Whether the error is above `limit`: certainly, possibly, or certainly not.
    pub fn above(self, limit: Span) -> Answer {
        if self.lo > limit {
            Answer::Certain
        } else if self.hi > limit {
            Answer::Possible
        } else {
            Answer::Safe
        }
    }
}

/// Interval addition.
impl Add for Bounds {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { lo: self.lo + other.lo, hi: self.hi + other.hi }
    }
}

/// Interval subtraction: for two hosts, `a − b` is their skew.
impl Sub for Bounds {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { lo: self.lo - other.hi, hi: self.hi - other.lo }
    }
}

impl Neg for Bounds {
    type Output = Self;
    fn neg(self) -> Self {
        Self { lo: -self.hi, hi: -self.lo }
    }
}

/// Shift by a known amount.
impl Add<Span> for Bounds {
    type Output = Self;
    fn add(self, by: Span) -> Self {
        Self { lo: self.lo + by, hi: self.hi + by }
    }
}

impl Sub<Span> for Bounds {
    type Output = Self;
    fn sub(self, by: Span) -> Self {
        Self { lo: self.lo - by, hi: self.hi - by }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.lo.signed(), self.hi.signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(lo: i64, hi: i64) -> Bounds {
        Bounds::new(Span::from_ns(lo), Span::from_ns(hi)).unwrap()
    }

    #[test]
    fn compares_intervals_with_limits() {
        let limit = Span::from_ns(100);
        assert_eq!(ns(-100, 100).beyond(limit), Answer::Safe);
        assert_eq!(ns(-101, 0).beyond(limit), Answer::Possible);
        assert_eq!(ns(101, 200).beyond(limit), Answer::Certain);
        assert_eq!(ns(-300, -101).beyond(limit), Answer::Certain);
        assert_eq!(ns(-300, 300).beyond(limit), Answer::Possible);
        assert_eq!(ns(-300, -200).above(limit), Answer::Safe);
        assert_eq!(ns(101, 102).above(limit), Answer::Certain);
        assert_eq!(ns(100, 102).above(limit), Answer::Possible);
    }

    #[test]
    fn a_clock_that_is_ahead_shows_a_later_time_than_true_time() {
        let reading = Timestamp::<Host>::from_ns(1_000);
        let window = ns(10, 30).window_at(reading);
        assert_eq!(window.earliest().as_ns(), 970);
        assert_eq!(window.latest().as_ns(), 990);
    }

    #[test]
    fn skew_of_two_hosts_is_interval_subtraction() {
        assert_eq!(ns(10, 20) - ns(1, 5), ns(5, 19));
        assert_eq!(ns(-5, 5).least_magnitude(), Span::ZERO);
        assert_eq!(ns(-9, -5).least_magnitude(), Span::from_ns(5));
    }
}
