//! Where an interval lies against its limit, as coordinates of a small drawing.

use timebase::Bounds;

/// Width of the drawing in its own units; its height is the template's.
pub(crate) const WIDTH: f64 = 120.0;
/// A window narrower than this is drawn this wide, or nobody would see it.
const LEAST: f64 = 2.0;
/// Room for the arrow that says "beyond the drawing".
const MARGIN: f64 = 4.0;
/// Spans of more than two decades need a logarithmic axis.
const DECADES: f64 = 100.0;

/// A horizontal piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) x: f64,
    pub(crate) width: f64,
    /// Beyond the limit: drawn in the colour of the answer.
    pub(crate) outside: bool,
}

/// An interval against its limits, from left (behind) to right (ahead).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Band {
    pub(crate) pieces: Vec<Piece>,
    /// Where the limits are.
    pub(crate) limits: Vec<f64>,
    /// Where zero is.
    pub(crate) zero: f64,
    /// Where the estimate is.
    pub(crate) estimate: Option<f64>,
    pub(crate) beyond_left: bool,
    pub(crate) beyond_right: bool,
    pub(crate) logarithmic: bool,
}

impl Band {
    /// A clock's window on an axis from −1.5 to +1.5 budgets.
    pub(crate) fn in_budget(window: Bounds, estimate: Option<i64>, budget_ns: i64) -> Self {
        let budget = budget_ns.max(1) as f64;
        let axis = Axis { lo: -1.5 * budget, hi: 1.5 * budget, log_from: None };
        Self::on(axis, window, estimate, &[-budget, budget])
    }

    /// A lead of one host over another on an axis that holds it, zero and the limit above.
    pub(crate) fn above(lead: Bounds, limit_ns: i64) -> Self {
        let (lo, hi) = (lead.lo().as_ns() as f64, lead.hi().as_ns() as f64);
        let limit = limit_ns as f64;
        let (least, most) = (lo.min(limit).min(0.0), hi.max(limit).max(0.0));
        let small =
            [lo, hi, limit].into_iter().map(f64::abs).filter(|x| *x > 0.0).fold(f64::MAX, f64::min);
        let large = least.abs().max(most);
        let log_from = (large > small * DECADES).then_some(small);
        let plain = Axis { lo: least, hi: most, log_from };
        let pad = (plain.place(most) - plain.place(least)) * 0.12 + f64::EPSILON;
        let axis = plain.padded(pad);
        Self::on(axis, lead, None, &[limit])
    }

    fn on(axis: Axis, window: Bounds, estimate: Option<i64>, limits: &[f64]) -> Self {
        let (lo, hi) = (window.lo().as_ns() as f64, window.hi().as_ns() as f64);
        let (mut from, mut to) = (axis.x(lo), axis.x(hi));
        if to - from < LEAST {
            let middle =
                ((from + to) / 2.0).clamp(MARGIN + LEAST / 2.0, WIDTH - MARGIN - LEAST / 2.0);
            (from, to) = (middle - LEAST / 2.0, middle + LEAST / 2.0);
        }
        let below = if limits.len() > 1 { limits[0] } else { f64::NEG_INFINITY };
        let above = limits.last().copied().unwrap_or(f64::INFINITY);
        let cuts = [from, axis.x(below).clamp(from, to), axis.x(above).clamp(from, to), to];
        // Exactly at the limit is inside; a piece that the least width invented takes no side of its own.
        let outside = [lo < below, hi > above && lo > above, hi > above];
        let whole = (lo > above || hi < below) || (lo >= below && hi <= above);
        let pieces = if whole {
            vec![Piece { x: from, width: to - from, outside: lo > above || hi < below }]
        } else {
            let parts = cuts.windows(2).zip(outside);
            parts
                .filter(|(cut, _)| cut[1] > cut[0])
                .map(|(cut, outside)| Piece { x: cut[0], width: cut[1] - cut[0], outside })
                .collect()
        };
        Self {
            pieces,
            limits: limits.iter().map(|limit| axis.x(*limit)).collect(),
            zero: axis.x(0.0),
            estimate: estimate.map(|offset| axis.x(offset as f64).clamp(from, to)),
            beyond_left: axis.place(lo) < axis.place(axis.lo),
            beyond_right: axis.place(hi) > axis.place(axis.hi),
            logarithmic: axis.log_from.is_some(),
        }
    }
}

#[derive(Clone, Copy)]
struct Axis {
    lo: f64,
    hi: f64,
    /// Logarithmic beyond this magnitude on either side, linear within.
    log_from: Option<f64>,
}

impl Axis {
    fn place(self, value: f64) -> f64 {
        self.log_from.map_or(value, |from| (value / from).asinh())
    }

    fn padded(self, by: f64) -> Self {
        let back = |place: f64| self.log_from.map_or(place, |from| place.sinh() * from);
        Self { lo: back(self.place(self.lo) - by), hi: back(self.place(self.hi) + by), ..self }
    }

    fn x(self, value: f64) -> f64 {
        let (lo, hi) = (self.place(self.lo), self.place(self.hi));
        let share = ((self.place(value) - lo) / (hi - lo)).clamp(0.0, 1.0);
        let x = MARGIN + share * (WIDTH - 2.0 * MARGIN);
        (x * 10.0).round() / 10.0
    }
}

/// The pieces as one answer of the template: whether any lies outside.
impl Band {
    pub(crate) fn describe(&self) -> &'static str {
        match (self.pieces.iter().any(|p| p.outside), self.pieces.iter().all(|p| p.outside)) {
            (_, true) => "outside the limit",
            (true, false) => "partly outside the limit",
            _ => "inside the limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use timebase::Span;

    use super::*;

    fn ms(lo: i64, hi: i64) -> Bounds {
        Bounds::between(Span::from_millis(lo), Span::from_millis(hi))
    }

    const BUDGET: i64 = 100_000_000;

    /// Proves that the band changes colour exactly at the limit and that nothing leaves the drawing.
    #[test]
    fn bands_are_cut_at_the_limit() {
        let inside = Band::in_budget(ms(-10, 10), Some(0), BUDGET);
        assert_eq!(inside.pieces.iter().map(|p| p.outside).collect::<Vec<_>>(), [false]);
        let across = Band::in_budget(ms(50, 120), None, BUDGET);
        assert_eq!(across.pieces.iter().map(|p| p.outside).collect::<Vec<_>>(), [false, true]);
        assert_eq!(across.pieces[1].x, across.limits[1]);
        let wide = Band::in_budget(ms(-900, 900), None, BUDGET);
        assert_eq!(wide.pieces.iter().map(|p| p.outside).collect::<Vec<_>>(), [true, false, true]);
        assert!(wide.beyond_left && wide.beyond_right);
        let outside = Band::in_budget(ms(700, 720), Some(710_000_000), BUDGET);
        assert!(outside.pieces.iter().all(|p| p.outside) && outside.beyond_right);
        for band in [inside, across, wide, outside] {
            for piece in band.pieces {
                assert!(piece.x >= 0.0 && piece.x + piece.width <= WIDTH && piece.width > 0.0);
            }
        }
    }

    /// Proves that a limit far from the interval gets a logarithmic axis and stays visible.
    #[test]
    fn far_limits_are_logarithmic() {
        let near =
            Band::above(Bounds::between(Span::from_ns(-72_000), Span::from_ns(491_000)), 300_000);
        assert!(!near.logarithmic && near.pieces.len() == 2);
        let far = Band::above(
            Bounds::between(Span::from_ns(-72_000), Span::from_ns(91_000)),
            10_000_000_000,
        );
        assert!(far.logarithmic && far.pieces.iter().all(|p| !p.outside));
        let _ = Band::above(Bounds::UNBOUNDED, 0);
        let _ = Band::above(Bounds::point(Span::ZERO), 0);
    }
}
