use alloc::collections::VecDeque;
use alloc::vec::Vec;

use timebase::{Bounds, Ppb, RateBounds, Raw, Span, Timestamp};

use super::{PointEstimate, Rate};
use crate::select::region_tolerating;

/// How much more than what was seen is taken to be possible.
const SAFETY: f64 = 3.0;
/// Blocks whose mean rates are compared.
const BLOCK: Span = Span::from_secs(512);
/// Comparisons remembered: a day at 90 minutes, two hours at 512 s.
const COMPARISONS: usize = 16;
/// Comparisons needed before they say anything.
const LEAST_COMPARISONS: usize = 4;
/// For how long the least wander is given.
const HOUR: Span = Span::from_secs(3600);
/// Standard deviation of a crystal's rate about its own estimate before it was learned, a fraction.
const TYPICAL_WANDER: f64 = 30e-9;
/// The quietest wander believed.
const QUIETEST: f64 = 2e-9;

/// What is known about this host's oscillator, which every source shares.
///
/// Two things are learned, as windows come in two kinds:
///
/// * the **worst case**: an interval of the rate now. Each source's bounds prove an interval of the mean
///   rate (see `anchors`); the rate now may differ from it by the *wander*, and the majority of the
///   sources decides as it does about the window, so that f of n may lie. Never wider than the ceiling.
/// * the **likely** rate, by regression, and how far it usually strays.
///
/// Wander is learned from the differences of neighbouring block means, as an Allan deviation is: its
/// limit is three times the largest difference seen lately that no longer or shorter path explains, and
/// at least what is configured.
#[derive(Clone, Debug)]
pub(crate) struct Oscillator {
    ceiling: RateBounds,
    rate_change: Ppb,
    measured: RateBounds,
    measured_at: Option<Timestamp<Raw>>,
    likely: Option<Rate>,
    blocks: Blocks,
}

impl Oscillator {
    pub(crate) fn new(ceiling: Ppb, rate_change: Ppb) -> Self {
        let ceiling = RateBounds::within(ceiling);
        Self {
            ceiling,
            rate_change,
            measured: ceiling,
            measured_at: None,
            likely: None,
            blocks: Blocks::default(),
        }
    }

    /// The raw clock has jumped, or the rate did what it must not: only the ceiling is certain.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.ceiling.hi(), self.rate_change);
    }

    /// How far the rate may stray.
    pub(crate) fn wander(&self) -> Wander {
        let seen = self.blocks.largest().unwrap_or(0.0);
        Wander { hourly: self.rate_change, per_block: seen * SAFETY }
    }

    /// What each voting source proves about the rate, so many of them perhaps wrongly, and the estimates
    /// they lead to.
    pub(crate) fn learn(
        &mut self,
        now: Timestamp<Raw>,
        (proofs, faults): (&[RateBounds], usize),
        likely: Option<Rate>,
        estimate: Option<PointEstimate>,
    ) {
        // Parts per billion as nanoseconds: the same interval algorithm as for windows.
        let as_bounds = |rate: &RateBounds| {
            Bounds::between(Span::from_ns(rate.lo().as_ppb()), Span::from_ns(rate.hi().as_ppb()))
        };
        let votes: Vec<Bounds> = proofs.iter().map(as_bounds).collect();
        let hull = region_tolerating(&votes, faults).and_then(|region| region.hull());
        let agreed = hull.and_then(|hull| {
            RateBounds::new(Ppb::new(hull.lo().as_ns()), Ppb::new(hull.hi().as_ns()))
        });
        if let Some(agreed) = agreed.and_then(|agreed| agreed.intersect(self.ceiling)) {
            (self.measured, self.measured_at) = (agreed, Some(now));
        }
        self.likely = likely.or(self.likely);
        if let (Some(estimate), Some(_)) = (estimate, likely) {
            self.blocks.push(now, estimate);
        }
    }

    /// The interval that worst-case bounds assume at `now`.
    pub(crate) fn rates(&self, now: Timestamp<Raw>) -> RateBounds {
        let Some(at) = self.measured_at else { return self.ceiling };
        let strayed = self.measured.widen(self.wander().since(now - at));
        strayed.intersect(self.ceiling).unwrap_or(self.ceiling)
    }

    /// The likely rate, and how far it may be from that, one standard deviation.
    pub(crate) fn likely(&self) -> Rate {
        let Some(rate) = self.likely else { return self.anywhere() };
        let strays = self.blocks.typical().unwrap_or(TYPICAL_WANDER).max(QUIETEST);
        Rate { sigma: libm::sqrt(rate.sigma * rate.sigma + strays * strays), ..rate }
    }

    /// Anywhere in the interval that is certain, with equal chance: before exchanges say more.
    fn anywhere(&self) -> Rate {
        let (lo, hi) = (self.measured.lo().as_ppb() as f64, self.measured.hi().as_ppb() as f64);
        Rate { slope: f64::midpoint(lo, hi) * 1e-9, sigma: (hi - lo) * 1e-9 / libm::sqrt(12.0) }
    }

    /// The regression's rate, if there is one.
    pub(crate) fn estimate(&self) -> Option<Rate> {
        self.likely
    }
}

/// How far rates at two moments may be apart, at most: by `rate-change-ppm` within an hour, at once or
/// bit by bit, and by as much again with every further hour; or as a random walk strays, with the square
/// root of the time, by what was seen from block to block, if that is more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wander {
    hourly: Ppb,
    /// Over one block, a fraction.
    per_block: f64,
}

impl Wander {
    pub(super) fn of(hourly: Ppb) -> Self {
        Self { hourly, per_block: 0.0 }
    }

    /// How far the rate now may be from its mean over the last `elapsed`.
    pub(super) fn off_mean(self, elapsed: Span) -> Ppb {
        self.drifted(elapsed.max(HOUR)).max(self.walked(elapsed.max(BLOCK)))
    }

    /// What that grows by when the mean is of `elapsed` ago.
    pub(super) fn since(self, elapsed: Span) -> Ppb {
        self.drifted(elapsed).max(self.walked(elapsed))
    }

    fn drifted(self, elapsed: Span) -> Ppb {
        let hours = elapsed.as_secs_f64().max(0.0) / HOUR.as_secs_f64();
        Ppb::new(libm::ceil(self.hourly.as_ppb() as f64 * hours) as i64)
    }

    fn walked(self, elapsed: Span) -> Ppb {
        let blocks = elapsed.as_secs_f64().max(0.0) / BLOCK.as_secs_f64();
        Ppb::new(libm::ceil(self.per_block * libm::sqrt(blocks) * 1e9) as i64)
    }
}

/// Mean rates of neighbouring blocks of time.
#[derive(Clone, Debug, Default)]
struct Blocks {
    began: Option<(Timestamp<Raw>, PointEstimate)>,
    /// The last block's, and by how much a path may have falsified it.
    last: Option<(f64, f64)>,
    /// |difference of two neighbours|, a fraction, and what of it no change of a path explains.
    changes: VecDeque<(f64, f64)>,
}

impl Blocks {
    fn push(&mut self, at: Timestamp<Raw>, estimate: PointEstimate) {
        let Some((began, from)) = self.began else {
            self.began = Some((at, estimate));
            return;
        };
        let lasted = at - began;
        if lasted < BLOCK {
            return;
        }
        self.began = Some((at, estimate));
        // A block with a long silence in it would average over too much.
        if lasted > BLOCK.times(64) {
            self.last = None;
            return;
        }
        let rate = (estimate.offset - from.offset).as_secs_f64() / lasted.as_secs_f64();
        // A way that became longer by δ moves the estimate by δ/2, and σ by δ/√12.
        let delayed = libm::sqrt(3.0) * (estimate.sigma_s - from.sigma_s).abs();
        let falsified = delayed / lasted.as_secs_f64();
        if let Some((before, falsified_before)) = self.last.replace((rate, falsified)) {
            if self.changes.len() == COMPARISONS {
                self.changes.pop_front();
            }
            let change = (rate - before).abs();
            let unexplained = (change - falsified - falsified_before).max(0.0);
            self.changes.push_back((change, unexplained));
        }
    }

    fn known(&self) -> bool {
        self.changes.len() >= LEAST_COMPARISONS
    }

    fn largest(&self) -> Option<f64> {
        self.changes.iter().map(|(_, unexplained)| *unexplained).max_by(f64::total_cmp)
    }

    /// RMS of the differences: √2 times the Allan deviation at τ = the block's length.
    fn typical(&self) -> Option<f64> {
        let sum: f64 = self.changes.iter().map(|(change, _)| change * change).sum();
        self.known().then(|| libm::sqrt(sum / self.changes.len() as f64))
    }
}
