use alloc::vec::Vec;

use timebase::{Raw, Span, Timestamp};

use super::frequency::FLOOR_S;
use super::{Point, Rate};

/// Steps of the search for the mode: to 1/2000 of eight standard deviations.
const STEPS: u32 = 16;
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// Where a likelihood ends: e⁻⁸ of the greatest, found by so many bisections.
const END: f64 = 8.0;
const BISECTIONS: u32 = 12;
/// Parts of the integral over a likelihood.
const PARTS: u32 = 24;

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
        f64::midpoint(self.lo, self.hi)
    }
}

/// What a source's exchanges say about a common rate: how tightly they lie along an edge of their strip,
/// in each direction.
pub(crate) struct Evidence {
    lower: Edge,
    upper: Edge,
}

impl Evidence {
    /// `points`: the newest first; `near`: a rate that is about right.
    pub(super) fn of<'a>(points: impl Iterator<Item = &'a Point> + Clone, near: f64) -> Self {
        let origin = points.clone().next();
        let ends = |end: fn(&Point, &Point) -> f64| {
            let points = points.clone().zip(origin.into_iter().cycle());
            points.map(move |(point, origin)| {
                ((origin.at - point.at).as_secs_f64(), end(point, origin))
            })
        };
        let lower = ends(|point, origin| (point.lo - origin.offset).as_secs_f64());
        let upper = ends(|point, origin| -(point.hi - origin.offset).as_secs_f64());
        Self { lower: Edge::of(lower, near), upper: Edge::of(upper, -near) }
    }

    fn log_likelihood(&self, slope: f64) -> f64 {
        self.lower.log_likelihood(slope) + self.upper.log_likelihood(-slope)
    }
}

/// The packets of one direction, as lines `end + rate · age`; their queues hold them below the highest.
struct Edge {
    highest: Envelope,
    /// Of all lines: age and end.
    mean: (f64, f64),
    /// Exchanges per second of their mean queueing delay.
    weight: f64,
}

impl Edge {
    fn of(lines: impl Iterator<Item = (f64, f64)>, near: f64) -> Self {
        let (mut highest, mut sum, mut count) = (Envelope::default(), (0.0, 0.0), 0.0);
        for (age, end) in lines {
            highest.push(age, end);
            sum = (sum.0 + age, sum.1 + end);
            count += 1.0;
        }
        let mean = (sum.0 / count, sum.1 / count);
        let mut edge = Self { highest, mean, weight: 1.0 };
        edge.weight = count / (FLOOR_S - edge.log_likelihood(near));
        edge
    }

    fn log_likelihood(&self, slope: f64) -> f64 {
        let (age, end) = self.mean;
        (end + slope * age - self.highest.at(slope)) * self.weight
    }
}

/// The lines `end + rate · age` that are the highest at some rate: few of many.
#[derive(Default)]
struct Envelope(Vec<(f64, f64)>);

impl Envelope {
    fn at(&self, slope: f64) -> f64 {
        self.0.iter().map(|(age, end)| end + slope * age).fold(f64::NEG_INFINITY, f64::max)
    }

    /// `age` is not below those before.
    fn push(&mut self, age: f64, end: f64) {
        while let [.., (age_1, end_1), (age_2, end_2)] = self.0[..] {
            // Left of where the new line crosses the first, the second is below the first; right of
            // it, below the new one.
            if (end - end_1) * (age_2 - age_1) < (end_2 - end_1) * (age - age_1) {
                break;
            }
            self.0.pop();
        }
        self.0.push((age, end));
    }
}

/// The rate by all sources together, given what regression says: mean and standard deviation.
///
/// If queueing delays are exponentially distributed with mean μ, the likelihood of n packets of one
/// direction is exp(−n·q/μ), where q is how far they lie from the edge of the strip in the mean: the
/// nearer a rate brings them to it, the likelier it is. The distance is the greatest of linear functions
/// less their mean, so the logarithm is concave and so is the sum over directions and sources: a queue on
/// one way does not spoil what the other way says. The regression enters as a normal prior, which is what
/// keeps other noise in bounds.
pub(crate) fn posterior(evidence: &[Evidence], prior: Rate) -> Rate {
    let likelihood = &|slope: f64| {
        let off = (slope - prior.slope) / prior.sigma;
        evidence.iter().map(|e| e.log_likelihood(slope)).sum::<f64>() - off * off / 2.0
    };
    let reach = 4.0 * prior.sigma;
    let mode = mode(likelihood, prior.slope - reach, prior.slope + reach);
    let greatest = likelihood(mode);
    let end = |towards: f64| {
        let (mut inside, mut outside) = (mode, towards);
        for _ in 0..BISECTIONS {
            let middle = f64::midpoint(inside, outside);
            let place =
                if likelihood(middle) > greatest - END { &mut inside } else { &mut outside };
            *place = middle;
        }
        outside
    };
    let (from, to) = (end(mode - 2.0 * reach), end(mode + 2.0 * reach));
    // From the mode: rates differ by little.
    let (mut total, mut mean, mut square) = (0.0, 0.0, 0.0);
    for part in 0..PARTS {
        let slope = from + (to - from) * (f64::from(part) + 0.5) / f64::from(PARTS);
        let (weight, off) = (libm::exp(likelihood(slope) - greatest), slope - mode);
        total += weight;
        mean += weight * off;
        square += weight * off * off;
    }
    let (mean, square) = (mean / total, square / total);
    Rate { slope: mode + mean, sigma: libm::sqrt((square - mean * mean).max(0.0)) }
}

/// Where a concave function is greatest, by golden section: each step keeps one of its two inner points.
fn mode(of: impl Fn(f64) -> f64, mut lo: f64, mut hi: f64) -> f64 {
    let inner = |lo: f64, hi: f64| (hi - (hi - lo) * GOLDEN, lo + (hi - lo) * GOLDEN);
    let (mut left, mut right) = inner(lo, hi);
    let (mut at_left, mut at_right) = (of(left), of(right));
    for _ in 0..STEPS {
        if at_left < at_right {
            lo = left;
            (left, at_left) = (right, at_right);
            right = inner(lo, hi).1;
            at_right = of(right);
        } else {
            hi = right;
            (right, at_right) = (left, at_left);
            left = inner(lo, hi).0;
            at_left = of(left);
        }
    }
    f64::midpoint(lo, hi)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that no line that matters is left out, and that few are kept.
    #[test]
    fn an_envelope_is_as_high_as_all_its_lines() {
        let mut random = crate::Random::from_number(7, 0);
        for _ in 0..50 {
            let mut noise = || random.unit();
            let lines: Vec<_> = (0..64).map(|i| (f64::from(i / 2), noise())).collect();
            let mut envelope = Envelope::default();
            lines.iter().for_each(|(age, end)| envelope.push(*age, *end));
            for rate in [-1.0, -0.1, -0.01, 0.0, 0.003, 0.05, 0.7] {
                let highest = |lines: &[(f64, f64)]| {
                    lines.iter().map(|(age, end)| end + rate * age).fold(f64::MIN, f64::max)
                };
                let (all, kept) = (highest(&lines), highest(&envelope.0));
                assert!((all - kept).abs() < 1e-12, "{rate}: {all} {kept}");
            }
            assert!(envelope.0.len() < 20, "{}", envelope.0.len());
        }
    }

    /// Proves that without evidence the rate is the prior's, mean and σ.
    #[test]
    fn nothing_but_the_prior_gives_the_prior() {
        let prior = Rate { slope: 12e-6, sigma: 1e-7 };
        let found = posterior(&[], prior);
        assert!((found.slope - prior.slope).abs() < 1e-3 * prior.sigma, "{found:?}");
        assert!((found.sigma / prior.sigma - 1.0).abs() < 0.05, "{found:?}");
    }
}
