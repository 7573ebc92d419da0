use alloc::vec::Vec;

use timebase::{Bounds, Ppb, RateBounds, Raw, Span, Timestamp};

use super::Wander;

/// Bounds remembered: one more than halving them leaves.
const MOST: usize = 16;
/// Time between two of them at the start; doubled whenever there are too many.
const SPACING: Span = Span::from_secs(8);
/// Older ones say too little about the rate now.
const OLDEST: Span = Span::from_secs(4 * 3600);

/// What is certain about the rate of the raw oscillator, by the word of one source.
///
/// If `raw − UTC` lay in `[lo, hi]` at one moment and in `[lo′, hi′]` a time τ later, the oscillator's mean
/// rate between them lies in `[(lo′ − hi)/τ, (hi′ − lo)/τ]`. No statistics are in this: it holds if the
/// bounds hold. A few old bounds, the older the farther apart, are enough to make τ long.
#[derive(Clone, Debug)]
pub(super) struct Anchors {
    kept: Vec<(Timestamp<Raw>, Bounds)>,
    spacing: Span,
}

impl Anchors {
    pub(super) fn new() -> Self {
        Self { kept: Vec::new(), spacing: SPACING }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Remembers what was certain at a moment, if it is long enough after the last.
    pub(super) fn push(&mut self, at: Timestamp<Raw>, bounds: Bounds) {
        self.kept.retain(|(kept, _)| at - *kept <= OLDEST);
        match self.kept.last_mut() {
            // The narrower of two that are close together says more.
            Some((last, kept)) if at - *last < self.spacing => {
                if bounds.width() < kept.width() && self.kept.len() > 1 {
                    self.kept.pop();
                    self.kept.push((at, bounds));
                }
                return;
            }
            _ => self.kept.push((at, bounds)),
        }
        if self.kept.len() > MOST {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.spacing = self.spacing.times(2);
        }
    }

    /// The rate at `now`, where `bounds` hold: it differs from the mean rate since any anchor by at most the
    /// wander over that time. `None` if the anchors contradict that.
    pub(super) fn rate(
        &self,
        now: Timestamp<Raw>,
        bounds: Bounds,
        wander: Wander,
        ceiling: RateBounds,
    ) -> Option<RateBounds> {
        let mut rate = ceiling;
        for (at, then) in &self.kept {
            let since = now - *at;
            let elapsed = since.as_secs_f64();
            if elapsed <= 0.0 {
                continue;
            }
            let wander = wander.off_mean(since);
            let moved = bounds - *then;
            let lo = libm::floor(moved.lo().as_ns() as f64 / elapsed);
            let hi = libm::ceil(moved.hi().as_ns() as f64 / elapsed);
            let mean =
                RateBounds::new(Ppb::new(lo as i64) + -wander, Ppb::new(hi as i64) + wander)?;
            rate = rate.intersect(mean)?;
        }
        Some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(at_s: i64, rate_ppb: i64, radius_ns: i64) -> (Timestamp<Raw>, Bounds) {
        let moved = Span::from_ns(at_s * rate_ppb);
        (Timestamp::from_ns(at_s * 1_000_000_000), Bounds::around(moved, Span::from_ns(radius_ns)))
    }

    #[test]
    fn the_interval_narrows_with_time_and_holds_the_rate() {
        let (ceiling, wander) = (RateBounds::within(Ppb::from_ppm(50)), Wander::of(Ppb::new(100)));
        for rate in [-20_000, 0, 7_000] {
            let mut anchors = Anchors::new();
            let mut last = None;
            for i in 0..1000 {
                let (at, bounds) = around(i * 16, rate, 1_000_000);
                let found = anchors.rate(at, bounds, wander, ceiling).unwrap();
                assert!(found.lo() <= Ppb::new(rate) && Ppb::new(rate) <= found.hi(), "{found}");
                anchors.push(at, bounds);
                last = Some(found);
            }
            let last = last.unwrap();
            // 2 ms over a little more than two hours, and the wander of so many, on each side.
            assert!(last.hi() + -last.lo() < Ppb::new(2 * (250 + 250)), "{last}");
        }
    }

    #[test]
    fn a_rate_that_changes_more_than_it_may_is_noticed() {
        let ceiling = RateBounds::within(Ppb::from_ppm(50));
        let mut anchors = Anchors::new();
        for i in 0..100 {
            let (at, bounds) = around(i * 16, 0, 10_000);
            anchors.push(at, bounds);
        }
        let (at, bounds) = around(101 * 16, 1_000, 10_000);
        assert_eq!(anchors.rate(at, bounds, Wander::of(Ppb::new(100)), ceiling), None);
    }
}
