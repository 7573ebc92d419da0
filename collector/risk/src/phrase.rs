//! Intervals and numbers in words, for sentences here, on the pages and in commands: "700 to 720 ms ahead".

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Display;

use timebase::{Bounds, Span};

/// Where a clock is: "700 to 720 ms ahead", "between 5.00 ms behind and 20.0 ms ahead".
pub fn ahead_or_behind(error: Bounds) -> String {
    if error.lo() >= Span::ZERO {
        format!("{} ahead", range(error.lo(), error.hi()))
    } else if error.hi() <= Span::ZERO {
        format!("{} behind", range(-error.hi(), -error.lo()))
    } else {
        format!("between {} behind and {} ahead", -error.lo(), error.hi())
    }
}

/// The same between two clocks: "700 to 720 ms ahead of nova-1", "5.00 s behind nova-1".
pub fn ahead_of(lead: Bounds, other: &str) -> String {
    let of = if lead.lo() < Span::ZERO && lead.hi() <= Span::ZERO { "" } else { " of" };
    format!("{}{of} {other}", ahead_or_behind(lead))
}

/// "700 to 720 ms", or one value if both read alike. Both ends are at least zero.
fn range(lo: Span, hi: Span) -> String {
    let (lo, hi) = (lo.to_string(), hi.to_string());
    if lo == hi {
        return hi;
    }
    match (lo.split_once(' '), hi.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} to {hi}"),
        _ => format!("{lo} to {hi}"),
    }
}

/// "1 host", "3 hosts".
pub fn count<N: Display + From<u8> + PartialEq>(n: N, one: &str) -> String {
    if n == N::from(1) { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Bytes as people read them: "86.4 GB".
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences say ahead or behind with one unit where one is enough.
    #[test]
    fn intervals_read_as_people_say_them() {
        let ms = |lo, hi| Bounds::between(Span::from_millis(lo), Span::from_millis(hi));
        for (bounds, text) in [
            (ms(700, 720), "700 to 720 ms ahead"),
            (ms(-720, -700), "700 to 720 ms behind"),
            (ms(700, 1200), "700 ms to 1.20 s ahead"),
            (ms(-5, 20), "between 5.00 ms behind and 20.0 ms ahead"),
            (ms(3, 3), "3.00 ms ahead"),
        ] {
            assert_eq!(ahead_or_behind(bounds), text);
        }
        assert_eq!(ahead_of(ms(-5, 20), "b"), "between 5.00 ms behind and 20.0 ms ahead of b");
        assert_eq!(ahead_of(ms(-20, -20), "b"), "20.0 ms behind b");
        assert_eq!(count(1, "host"), "1 host");
        assert_eq!(count(0, "host"), "0 hosts");
    }
    /// Proves that sizes have the unit in which they are read best.
    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500), "1.5 kB");
        assert_eq!(size(86_400_000_000), "86.4 GB");
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }
}
