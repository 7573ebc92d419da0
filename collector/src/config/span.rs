//! Durations as people write them: `#[serde(with = "span")]` on a [`Span`].

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use timebase::Span;

/// Reads `"50 ms"`; a duration of zero or below is refused, none makes sense here.
///
/// # Errors
/// Not a text, no unit, or not above zero.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
    let text = String::deserialize(from)?;
    let span: Span = text.parse().map_err(D::Error::custom)?;
    if span > Span::ZERO { Ok(span) } else { Err(D::Error::custom("must be above zero")) }
}

/// Writes the largest unit that is exact, so that what is printed reads back equal.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize<S: Serializer>(span: &Span, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&exact(*span))
}

fn exact(span: Span) -> String {
    const UNITS: [(&str, i64); 6] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let ns = span.as_ns();
    let unit = UNITS.into_iter().find(|(_, size)| ns % size == 0);
    unit.map_or_else(|| format!("{ns} ns"), |(unit, size)| format!("{} {unit}", ns / size))
}

/// A [`Span`] as the standard library counts.
pub fn std(span: Span) -> std::time::Duration {
    std::time::Duration::from_nanos(span.as_ns().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that every printed duration reads back as the same number of nanoseconds.
    #[test]
    fn exact_text_reads_back() {
        for ns in [1, 999, 1_000, 50_000_000, 90_000_000_000, 2_592_000_000_000_000] {
            assert_eq!(exact(Span::from_ns(ns)).parse(), Ok(Span::from_ns(ns)));
        }
    }
}
