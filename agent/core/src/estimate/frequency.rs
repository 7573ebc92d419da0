use timebase::{Ppb, Span};

use super::Point;
use super::strip::Strip;

/// Fewer exchanges, or a shorter time, say nothing about a rate.
const LEAST_POINTS: usize = 4;
const LEAST_SPAN: Span = Span::from_secs(30);
/// Scatter assumed of even the quietest exchange, seconds; it keeps four lucky points from claiming a
/// perfect rate.
pub(super) const FLOOR_S: f64 = 0.5e-6;
/// The shortest memory tried, in exchanges.
const SHORTEST: usize = 8;
/// Half-width of a confidence interval, in standard deviations.
const CONFIDENCE: f64 = 3.0;

/// Rate of the raw oscillator against a source, with its standard deviation, both as fractions
/// (1e-6 is one ppm; positive runs fast).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) slope: f64,
    pub(crate) sigma: f64,
}

impl Rate {
    /// One rate from several sources, each weighted by 1/σ². They share the oscillator, so they should
    /// agree; how far they do not adds to σ.
    pub(crate) fn combine(rates: impl Iterator<Item = Self> + Clone) -> Option<Self> {
        let weight = |rate: &Self| 1.0 / (rate.sigma * rate.sigma).max(1e-24);
        let total: f64 = rates.clone().map(|rate| weight(&rate)).sum();
        if total <= 0.0 {
            return None;
        }
        let mean = |of: &dyn Fn(&Self) -> f64| {
            rates.clone().map(|rate| weight(&rate) * of(&rate)).sum::<f64>() / total
        };
        let slope = mean(&|rate| rate.slope);
        let spread = mean(&|rate| (rate.slope - slope) * (rate.slope - slope));
        Some(Self { slope, sigma: libm::sqrt(1.0 / total + spread) })
    }

    pub(crate) fn ppb(&self) -> Ppb {
        Ppb::new(libm::round(self.slope * 1e9) as i64)
    }

    pub(crate) fn sigma_ppb(&self) -> Ppb {
        Ppb::new(libm::ceil(self.sigma * 1e9) as i64)
    }
}

/// A rate, and how many of the latest exchanges agree on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    pub(super) rate: Option<Rate>,
    pub(super) length: usize,
}

/// Weighted least squares over as many of the latest exchanges as agree on one rate.
///
/// Exchanges that met queues (delay above the least) weigh less, because the asymmetry they may hide is
/// half of their extra delay. A longer memory is better against noise and worse against a rate that
/// wanders. So the memory is lengthened as long as
///
/// * the confidence intervals of all shorter ones have a rate in common (the intersection of confidence
///   intervals, Goldenshluger and Nemirovski 1997), and
/// * with that rate the lower and the upper ends of the exchanges leave a gap between them of about the
///   least delay: packets are not received before they are sent.
///
/// Neither noise nor wander has to be known beforehand. There is no rate until it is known well against
/// the drift limit, which is all that is known before.
pub(super) fn remember(points: &[Point], drift: Ppb) -> Memory {
    let mut common = (f64::NEG_INFINITY, f64::INFINITY);
    let mut length = SHORTEST.min(points.len());
    let mut best = Memory { rate: None, length };
    loop {
        if let Some(fit) = Fit::of(&points[points.len() - length..]) {
            let radius = CONFIDENCE * fit.rate.sigma;
            common = (common.0.max(fit.rate.slope - radius), common.1.min(fit.rate.slope + radius));
            if common.0 > common.1 || (!fit.causal && best.rate.is_some()) {
                break;
            }
            best = Memory { rate: Some(fit.rate), length };
        }
        if length == points.len() {
            break;
        }
        length = (length * 4 / 3).min(points.len());
    }
    best.rate = best.rate.filter(|rate| rate.sigma < drift.as_ppb() as f64 * 1e-9 / 4.0);
    best
}

/// The rate that the latest exchanges lie on in a straight line, if it is certainly beyond the limit.
///
/// A server that steps leaves no straight line, so what does can only be a rate: of this host's
/// oscillator, or of the server's clock.
pub(super) fn runaway(points: &[Point], drift: Ppb) -> Option<Rate> {
    // A source that contradicts itself is asked in bursts: eight exchanges may take two seconds.
    let lengths = [SHORTEST, 2 * SHORTEST, 4 * SHORTEST];
    lengths.into_iter().find_map(|length| {
        let latest = &points[points.len().saturating_sub(length)..];
        let fit = Fit::of(latest).filter(|fit| fit.causal)?;
        let beyond = libm::fabs(fit.rate.slope) - CONFIDENCE * fit.rate.sigma;
        (beyond > drift.as_ppb() as f64 * 1e-9).then_some(fit.rate)
    })
}

struct Fit {
    rate: Rate,
    /// Whether the ends leave the gap that they should.
    causal: bool,
}

impl Fit {
    fn of(points: &[Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        if points.len() < LEAST_POINTS || last.at - first.at < LEAST_SPAN {
            return None;
        }
        let least_delay = points.iter().map(|p| p.delay).min()?;
        let excess = |point: &Point| (point.delay - least_delay).as_secs_f64();
        // The least of n delays is itself above the least possible, by about the mean excess over √n.
        let above = mean_excess(points.iter()) / libm::sqrt(points.len() as f64);
        let weighted = points.iter().map(|point| {
            let sigma = FLOOR_S + above / 2.0 + excess(point) / 2.0;
            (point, 1.0 / (sigma * sigma))
        });
        let line = Line::fit(weighted)?;
        let rate = Rate { slope: line.slope, sigma: line.slope_sigma() };
        let gap = Strip::of(points.iter(), Rate { sigma: 0.0, ..rate }, last.at, last.offset).gap();
        let causal = gap > least_delay.as_secs_f64() - 4.0 * above - 2.0 * FLOOR_S;
        Some(Self { rate, causal })
    }
}

/// The mean of the delays above the least one, seconds.
pub(super) fn mean_excess<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> f64 {
    let Some(least) = points.clone().map(|point| point.delay).min() else { return 0.0 };
    let (mut sum, mut count) = (0.0, 0.0);
    for point in points {
        sum += (point.delay - least).as_secs_f64();
        count += 1.0;
    }
    sum / count
}

/// RMS of the offsets about a straight line, of at least three exchanges.
pub(super) fn scatter<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> Option<Span> {
    let line = Line::fit(points.map(|point| (point, 1.0)))?;
    let degrees = line.count.checked_sub(2).filter(|degrees| *degrees > 0)?;
    Some(Span::from_secs_f64(libm::sqrt(line.residual / f64::from(degrees))))
}

/// `offset = slope · time + constant` by least squares; times and offsets relative to the first point,
/// so that nanoseconds survive in a double.
struct Line {
    slope: f64,
    count: u32,
    /// Σ w·(distance from the line)²
    residual: f64,
    /// Σ w·(time − mean time)²
    spread: f64,
}

impl Line {
    fn fit<'a>(points: impl Iterator<Item = (&'a Point, f64)> + Clone) -> Option<Self> {
        let (origin, _) = points.clone().next()?;
        let xyw = points.map(|(point, weight)| {
            let x = (point.at - origin.at).as_secs_f64();
            let y = (point.offset - origin.offset).as_secs_f64();
            (x, y, weight)
        });
        let (mut count, mut w_sum, mut x_sum, mut y_sum) = (0, 0.0, 0.0, 0.0);
        for (x, y, w) in xyw.clone() {
            count += 1;
            w_sum += w;
            x_sum += w * x;
            y_sum += w * y;
        }
        let (x_mean, y_mean) = (x_sum / w_sum, y_sum / w_sum);
        let (mut xx, mut xy) = (0.0, 0.0);
        for (x, y, w) in xyw.clone() {
            xx += w * (x - x_mean) * (x - x_mean);
            xy += w * (x - x_mean) * (y - y_mean);
        }
        let slope = if xx > 0.0 { xy / xx } else { return None };
        let residual = xyw
            .map(|(x, y, w)| {
                let off = y - y_mean - slope * (x - x_mean);
                w * off * off
            })
            .sum();
        Some(Self { slope, count, residual, spread: xx })
    }

    /// The slope's standard deviation. The weights claim a scatter; if the points scatter more, that
    /// counts, and if they scatter less, the claim stays.
    fn slope_sigma(&self) -> f64 {
        let degrees = f64::from(self.count.saturating_sub(2).max(1));
        libm::sqrt((self.residual / degrees).max(1.0) / self.spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use alloc::vec::Vec;
    use timebase::{StampKind, Timestamp};

    fn points(n: i64, every_s: f64, slope: f64, jitter_s: f64) -> Vec<Point> {
        let mut random = Random::from_number(9, 9);
        (0..n)
            .map(|i| {
                let t = i as f64 * every_s;
                let queue = jitter_s * random.exponential();
                let lo = Span::from_secs_f64(-1.7e9) + Span::from_secs_f64(t * slope - 1e-4 / 2.0);
                Point {
                    lo,
                    hi: lo + Span::from_secs_f64(1e-4 + queue),
                    at: Timestamp::<timebase::Raw>::from_ns(0) + Span::from_secs_f64(t),
                    offset: Span::from_secs_f64(-1.7e9)
                        + Span::from_secs_f64(t * slope + queue / 2.0),
                    delay: Span::from_secs_f64(1e-4 + queue),
                    root_distance: Span::ZERO,
                    width: Span::from_secs_f64(1e-4 + queue),
                    stamps: StampKind::Kernel,
                }
            })
            .collect()
    }

    #[test]
    fn finds_the_rate_within_its_own_sigma() {
        for slope in [-20e-6, 0.0, 13.5e-6] {
            let rate = remember(&points(64, 16.0, slope, 1e-4), Ppb::from_ppm(50)).rate.unwrap();
            assert!((rate.slope - slope).abs() < 4.0 * rate.sigma, "{slope}: {rate:?}");
            assert!(rate.sigma < 1e-6, "{rate:?}");
        }
    }

    #[test]
    fn a_straight_line_beyond_the_limit_is_a_runaway_and_a_step_is_none() {
        let limit = Ppb::from_ppm(50);
        let away = runaway(&points(12, 16.0, 80e-6, 1e-5), limit).unwrap();
        assert!((away.slope - 80e-6).abs() < 1e-6, "{away:?}");
        assert_eq!(runaway(&points(12, 16.0, 40e-6, 1e-5), limit), None);
        let mut stepped = points(12, 16.0, 0.0, 1e-5);
        for point in &mut stepped[8..] {
            let by = Span::from_millis(100);
            (point.lo, point.hi, point.offset) = (point.lo + by, point.hi + by, point.offset + by);
        }
        assert_eq!(runaway(&stepped, limit), None);
    }

    #[test]
    fn says_nothing_before_it_knows() {
        assert_eq!(remember(&points(3, 60.0, 0.0, 1e-4), Ppb::from_ppm(50)).rate, None);
        assert_eq!(remember(&points(20, 1.0, 0.0, 1e-4), Ppb::from_ppm(50)).rate, None);
        // 100 ms of jitter over two minutes is hundreds of ppm.
        assert_eq!(remember(&points(8, 16.0, 0.0, 0.1), Ppb::from_ppm(50)).rate, None);
        assert_eq!(remember(&points(64, 0.0, 0.0, 0.1), Ppb::from_ppm(50)).rate, None);
    }
}
