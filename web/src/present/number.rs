use timebase::{Bounds, Ppb, Span};

/// A number in its cell, and exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quantity {
    pub(crate) text: String,
    pub(crate) exact: String,
}

/// With its sign: `+712 ms`.
pub(crate) fn signed(ns: i64) -> Quantity {
    let sign = if ns > 0 { "+" } else { "" };
    let exact = format!("{sign}{ns} ns").replace('-', "−");
    Quantity { text: Span::from_ns(ns).signed().to_string(), exact }
}

/// Without a sign, for what is never negative: `38.2 µs`.
pub(crate) fn magnitude(ns: i64) -> Quantity {
    Quantity { text: Span::from_ns(ns).to_string(), exact: format!("{ns} ns").replace('-', "−") }
}

/// A rate with its sign: `+12.3 ppm`.
pub(crate) fn rate(ppb: i64) -> Quantity {
    let sign = if ppb > 0 { "+" } else { "" };
    let exact = format!("{sign}{ppb} ns gained per second").replace('-', "−");
    Quantity { text: format!("{sign}{}", Ppb::new(ppb)), exact }
}

/// Both ends as an interval; `None` unless both are there and in order.
pub(crate) fn bounds(lo_ns: Option<i64>, hi_ns: Option<i64>) -> Option<Bounds> {
    Bounds::new(Span::from_ns(lo_ns?), Span::from_ns(hi_ns?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that cells carry sign and unit, and the exact value beside them.
    #[test]
    fn numbers_carry_sign_unit_and_exact_value() {
        assert_eq!(signed(712_345_678).text, "+712 ms");
        assert_eq!(signed(712_345_678).exact, "+712345678 ns");
        assert_eq!(signed(-38_249).text, "−38.2 µs");
        assert_eq!(signed(-38_249).exact, "−38249 ns");
        assert_eq!(rate(-12_340).text, "−12.34 ppm");
        assert_eq!(bounds(Some(2), Some(1)), None);
    }
}
