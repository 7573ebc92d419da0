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

/// What data takes up: `86.4 GB`.
pub(crate) fn bytes(bytes: i64) -> Quantity {
    let text = risk::phrase::size(bytes.max(0).unsigned_abs());
    Quantity { text, exact: format!("{bytes} bytes") }
}

/// A rate with its sign: `+12.3 ppm`.
pub(crate) fn rate(ppb: i64) -> Quantity {
    let sign = if ppb > 0 { "+" } else { "" };
    let exact = format!("{sign}{ppb} ns gained per second").replace('-', "−");
    Quantity { text: format!("{sign}{}", Ppb::new(ppb)), exact }
}

/// The interval of a rate, in as many digits as it takes to tell its ends apart: `−12.3 to −10.9 ppm`.
pub(crate) fn rates(lo_ppb: i64, hi_ppb: i64) -> Quantity {
    let width = hi_ppb.saturating_sub(lo_ppb).max(1) as f64 / 1e3;
    let decimals = (1.0 - width.log10().floor()).clamp(0.0, 3.0) as usize;
    let end = |ppb: i64| format!("{:+.decimals$}", ppb as f64 / 1e3).replace('-', "−");
    Quantity {
        text: format!("{} to {} ppm", end(lo_ppb), end(hi_ppb)),
        exact: format!("{lo_ppb:+} to {hi_ppb:+} ns gained per second").replace('-', "−"),
    }
}

/// A limit of a rate either way: `± 50 ppm`.
pub(crate) fn rate_limit(ppb: i64) -> String {
    format!("± {} ppm", ppb as f64 / 1e3)
}

/// Both ends as an interval; `None` unless both are there and in order.
pub(crate) fn bounds(lo_ns: Option<i64>, hi_ns: Option<i64>) -> Option<Bounds> {
    Bounds::new(Span::from_ns(lo_ns?), Span::from_ns(hi_ns?))
}

/// Both ends with their signs, in as many digits as it takes to tell them apart: `+709.94 ms` and
/// `+710.06 ms` where three digits would read the same.
pub(crate) fn ends(bounds: Bounds) -> (Quantity, Quantity) {
    let (lo, hi) = (signed(bounds.lo().as_ns()), signed(bounds.hi().as_ns()));
    if lo.text != hi.text || bounds.width() == Span::ZERO {
        return (lo, hi);
    }
    let unit = UNITS.into_iter().find(|(word, _)| hi.text.ends_with(&format!(" {word}")));
    let Some((word, size)) = unit else { return (lo, hi) };
    // Two digits of the width.
    let decimals =
        ((size / bounds.width().as_ns() as f64).log10().ceil() + 1.0).clamp(0.0, 9.0) as usize;
    let longer = |end: Span, short: Quantity| {
        let sign = if end.is_negative() { "−" } else { "+" };
        let value = end.abs().as_ns() as f64 / size;
        Quantity { text: format!("{sign}{value:.decimals$} {word}"), ..short }
    };
    (longer(bounds.lo(), lo), longer(bounds.hi(), hi))
}

const UNITS: [(&str, f64); 3] = [("ms", 1e6), ("µs", 1e3), ("s", 1e9)];

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

    /// Proves that both ends of a rate are told apart, and that a limit has no digits to spare.
    #[test]
    fn rates_have_the_digits_of_their_width() {
        assert_eq!(rates(-12_300, -10_900).text, "−12.3 to −10.9 ppm");
        assert_eq!(rates(-12_310, -12_290).text, "−12.310 to −12.290 ppm");
        assert_eq!(rates(-50_000, 50_000).text, "−50 to +50 ppm");
        assert_eq!(rates(5, 5).text, "+0.005 to +0.005 ppm");
        assert_eq!(rates(-3, 4).exact, "−3 to +4 ns gained per second");
        assert_eq!(rate_limit(50_000), "± 50 ppm");
        assert_eq!(rate_limit(2_500), "± 2.5 ppm");
    }

    /// Proves that a narrow window far from zero does not read as a point.
    #[test]
    fn ends_can_be_told_apart() {
        let texts = |lo, hi| {
            let (lo, hi) = ends(bounds(Some(lo), Some(hi)).unwrap());
            (lo.text, hi.text)
        };
        assert_eq!(texts(709_936_000, 710_064_000), ("+709.94 ms".into(), "+710.06 ms".into()));
        assert_eq!(texts(-710_064_000, -709_936_000), ("−710.06 ms".into(), "−709.94 ms".into()));
        assert_eq!(texts(-72_600, 96_500), ("−72.6 µs".into(), "+96.5 µs".into()));
        assert_eq!(texts(3_000_000_100, 3_000_000_900).0, "+3.00000010 s");
        assert_eq!(texts(5, 5).0, "+5 ns");
    }
}
