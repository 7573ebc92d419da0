use alloc::vec::Vec;

use timebase::{Raw, Span, Timestamp};

use super::{Point, Rate};

/// Steps of the search: to 1/2000 of eight standard deviations.
const STEPS: u32 = 16;
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The highest lower and the lowest upper end of several exchanges, in seconds from an origin: the edges
/// of the strip in which `raw − UTC` moves along at some rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strip {
    lo: f64,
    hi: f64,
    pub(super) count: u32,
}

impl Strip {
    /// Every exchange is moved on to `now` by the rate, and loosened by its σ.
    pub(super) fn of<'a>(
        points: impl Iterator<Item = &'a Point>,
        rate: Rate,
        now: Timestamp<Raw>,
        origin: Span,
    ) -> Self {
        let mut strip = Self { lo: f64::NEG_INFINITY, hi: f64::INFINITY, count: 0 };
        for point in points {
            let age = (now - point.at).as_secs_f64();
            let (moved, loosened) = (rate.slope * age, rate.sigma * age.abs());
            strip.lo = strip.lo.max((point.lo - origin).as_secs_f64() + moved - loosened);
            strip.hi = strip.hi.min((point.hi - origin).as_secs_f64() + moved + loosened);
            strip.count += 1;
        }
        strip
    }

    /// Its width; negative if noise made the edges cross.
    pub(super) fn gap(&self) -> f64 {
        self.hi - self.lo
    }

    pub(super) fn middle(&self) -> f64 {
        (self.hi + self.lo) / 2.0
    }
}

/// What a source's exchanges say about a common rate: how wide they leave their strip.
pub(crate) struct Evidence {
    /// Age, lower and upper end of every exchange, seconds.
    ends: Vec<(f64, f64, f64)>,
    /// Exchanges per second of their mean queueing delay: how fast the likelihood falls with the gap.
    weight: f64,
}

impl Evidence {
    pub(super) fn of<'a>(points: impl Iterator<Item = &'a Point> + Clone, queueing: f64) -> Self {
        let origin = points.clone().next();
        let ends: Vec<_> = points
            .zip(origin.into_iter().cycle())
            .map(|(point, origin)| {
                let age = (origin.at - point.at).as_secs_f64();
                let from = |end: Span| (end - origin.offset).as_secs_f64();
                (age, from(point.lo), from(point.hi))
            })
            .collect();
        Self { weight: ends.len() as f64 / queueing, ends }
    }

    fn log_likelihood(&self, slope: f64) -> f64 {
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for (age, lo, hi) in &self.ends {
            let moved = slope * age;
            low = low.max(lo + moved);
            high = high.min(hi + moved);
        }
        (high - low) * self.weight
    }
}

/// The most likely rate by all sources together, given what regression says.
///
/// If queueing delays are exponentially distributed, the likelihood of a rate is exp(n·gap/μ), n exchanges
/// with a mean delay of μ in each direction: the rate that leaves the strip widest is the most likely one.
/// The gap is the least of linear functions less the greatest of such, so it is concave and so is the sum
/// over the sources; the regression enters as a normal prior, which is what keeps other noise in bounds.
pub(crate) fn most_likely(evidence: &[Evidence], prior: Rate) -> f64 {
    let likelihood = |slope: f64| {
        let off = (slope - prior.slope) / prior.sigma;
        evidence.iter().map(|e| e.log_likelihood(slope)).sum::<f64>() - off * off / 2.0
    };
    let reach = 4.0 * prior.sigma;
    let (mut lo, mut hi) = (prior.slope - reach, prior.slope + reach);
    // Golden section: each step keeps one of its two inner points.
    let inner = |lo: f64, hi: f64| (hi - (hi - lo) * GOLDEN, lo + (hi - lo) * GOLDEN);
    let (mut left, mut right) = inner(lo, hi);
    let (mut at_left, mut at_right) = (likelihood(left), likelihood(right));
    for _ in 0..STEPS {
        if at_left < at_right {
            lo = left;
            (left, at_left) = (right, at_right);
            right = inner(lo, hi).1;
            at_right = likelihood(right);
        } else {
            hi = right;
            (right, at_right) = (left, at_left);
            left = inner(lo, hi).0;
            at_left = likelihood(left);
        }
    }
    (lo + hi) / 2.0
}
