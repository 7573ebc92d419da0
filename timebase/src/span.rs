use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use core::str::FromStr;

/// A signed duration in whole nanoseconds.
///
/// Arithmetic saturates: a hostile packet can make a span absurd, never make it wrap.
/// `Display` shows three significant digits in the unit that fits, as people read them; the exact
/// value is [`Span::as_ns`].
///
/// ```
/// use timebase::Span;
/// assert_eq!(Span::from_ns(712_345_678).to_string(), "712 ms");
/// assert_eq!("1.5ms".parse::<Span>(), Ok(Span::from_ns(1_500_000)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// One nanosecond, the resolution of every span.
    pub const NANOSECOND: Self = Self(1);
    /// One microsecond.
    pub const MICROSECOND: Self = Self(1_000);
    /// One millisecond.
    pub const MILLISECOND: Self = Self(1_000_000);
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);
    /// The longest span, about 292 years; stands for "unlimited".
    pub const MAX: Self = Self(i64::MAX);
    /// The most negative span.
    pub const MIN: Self = Self(i64::MIN);

    /// A span of `ns` nanoseconds.
    #[inline]
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// A span of `secs` seconds, saturating.
    #[inline]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// A span of `ms` milliseconds, saturating.
    #[inline]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// The nearest span to a number of seconds; not-a-number becomes zero, the rest saturates.
    #[inline]
    pub fn from_secs_f64(secs: f64) -> Self {
        // `as` saturates and maps NaN to 0, which is what is wanted here.
        Self(libm_round(secs * 1e9) as i64)
    }

    /// Nanoseconds.
    #[inline]
    pub const fn as_ns(self) -> i64 {
        self.0
    }

    /// Seconds, as a float: for estimation and charts, not for arithmetic on bounds.
    #[inline]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The magnitude, saturating.
    #[inline]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// Half, rounded away from zero so that a half of an uncertainty never shrinks it.
    #[inline]
    pub const fn half(self) -> Self {
        Self(self.0 / 2 + self.0 % 2)
    }

    /// `self · n`, saturating.
    #[inline]
    pub const fn times(self, n: i64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Whether the span is below zero.
    #[inline]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// With an explicit sign and a true minus, as table cells show it: `+712 ms`, `−38.2 µs`.
    pub fn signed(self) -> impl fmt::Display {
        Signed(self)
    }
}

/// `f64::round` without the standard library; exact for every magnitude below 2^53.
fn libm_round(x: f64) -> f64 {
    if x.abs() >= 9.0e15 || x.is_nan() {
        return x;
    }
    let whole = x as i64 as f64;
    let rest = x - whole;
    if rest >= 0.5 {
        whole + 1.0
    } else if rest <= -0.5 {
        whole - 1.0
    } else {
        whole
    }
}

impl Add for Span {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl AddAssign for Span {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Span {
    #[inline]
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Span {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

const UNITS: [(&str, u64); 3] = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("−")?;
        }
        magnitude(self.0.unsigned_abs(), f)
    }
}

struct Signed(Span);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0 > 0 {
            f.write_str("+")?;
        }
        self.0.fmt(f)
    }
}

/// Three significant digits in the largest unit that leaves one before the point; whole seconds stay
/// whole from 100 s on, because "3.6e3 s" helps nobody.
fn magnitude(ns: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if ns < 1_000 {
        return write!(f, "{ns} ns");
    }
    for (unit, size) in UNITS {
        // The unit is right if the value reaches one of it at the next smaller unit's precision:
        // 999.96 µs reads "1.00 ms", 999.4 ms stays.
        if ns.saturating_add(size / 2_000) < size {
            continue;
        }
        let rounded = |decimals: u32| {
            let step = size / 10u64.pow(decimals);
            ns.saturating_add(step / 2) / step
        };
        return match (rounded(2), rounded(1)) {
            (hundredths, _) if hundredths < 1000 => {
                write!(f, "{}.{:02} {unit}", hundredths / 100, hundredths % 100)
            }
            (_, tenths) if tenths < 1000 => write!(f, "{}.{} {unit}", tenths / 10, tenths % 10),
            _ => write!(f, "{} {unit}", rounded(0)),
        };
    }
    write!(f, "{ns} ns")
}

/// Why a text is not a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseSpanError {
    /// No number before the unit.
    Number,
    /// The unit is missing or none of ns, us, µs, ms, s, min, h, d.
    Unit,
}

impl fmt::Display for ParseSpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "expected a number with a unit, such as \"100 ms\"",
            Self::Unit => "expected one of the units ns, us, ms, s, min, h, d after the number",
        })
    }
}

impl core::error::Error for ParseSpanError {}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        let text = text.trim();
        let unit_at =
            text.find(|c: char| c.is_alphabetic() || c == 'µ').ok_or(ParseSpanError::Unit)?;
        let (number, unit) = text.split_at(unit_at);
        let number = number.trim().trim_start_matches('+');
        let unit_ns: i64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" | "sec" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(ParseSpanError::Unit),
        };
        if let Ok(whole) = number.parse::<i64>() {
            return Ok(Self(whole.saturating_mul(unit_ns)));
        }
        let value: f64 = number.parse().map_err(|_| ParseSpanError::Number)?;
        if !value.is_finite() {
            return Err(ParseSpanError::Number);
        }
        Ok(Self(libm_round(value * unit_ns as f64) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn shows_three_significant_digits_in_a_fitting_unit() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (38_249, "38.2 µs"),
            (999_960, "1.00 ms"),
            (100_000_000, "100 ms"),
            (999_499_999, "999 ms"),
            (999_999_999, "1.00 s"),
            (-700_000_000, "−700 ms"),
            (3_600_000_000_000, "3600 s"),
            (i64::MIN, "−9223372037 s"),
        ] {
            assert_eq!(Span::from_ns(ns).to_string(), text, "{ns} ns");
        }
        assert_eq!(Span::from_ns(5).signed().to_string(), "+5 ns");
    }

    #[test]
    fn reads_what_people_write() {
        assert_eq!("100 ms".parse(), Ok(Span::from_millis(100)));
        assert_eq!("2min".parse(), Ok(Span::from_secs(120)));
        assert_eq!("-0.5 s".parse(), Ok(Span::from_millis(-500)));
        assert_eq!("5".parse::<Span>(), Err(ParseSpanError::Unit));
        assert_eq!("ms".parse::<Span>(), Err(ParseSpanError::Number));
        assert_eq!("nan s".parse::<Span>(), Err(ParseSpanError::Unit));
        assert_eq!("5 parsecs".parse::<Span>(), Err(ParseSpanError::Unit));
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(Span::MAX + Span::SECOND, Span::MAX);
        assert_eq!(Span::MIN - Span::SECOND, Span::MIN);
        assert_eq!(-Span::MIN, Span::MAX);
        assert_eq!(Span::from_secs_f64(f64::NAN), Span::ZERO);
        assert_eq!(Span::from_secs_f64(1e30), Span::MAX);
        assert_eq!(Span::from_ns(3).half(), Span::from_ns(2));
        assert_eq!(Span::from_ns(-3).half(), Span::from_ns(-2));
    }
}
