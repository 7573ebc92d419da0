use timebase::{Raw, Span, Timestamp};

use super::strip::Strip;
use super::{Point, Rate};

/// So many times the σ of the surest source, and a source takes no part in the estimate (as chrony's
/// `combinelimit`).
const FAR_LESS_SURE: f64 = 3.0;

/// The likely value of `raw − UTC` at some moment: never a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PointEstimate {
    pub(crate) offset: Span,
    /// One standard deviation, seconds.
    pub(crate) sigma_s: f64,
    /// Exchanges it was chosen from.
    pub(crate) samples: u32,
}

/// Where `raw − UTC` likely is at `now`, by the exchanges remembered of one source.
///
/// Queues only ever lengthen a packet's way, so each exchange says "not below `lo`" and "not above `hi`",
/// and the least delayed packet of each direction says it best; they need not belong to one exchange.
/// Every exchange is moved on by the likely rate, and loosened by that rate's σ times its age. The
/// estimate is the middle of what is left. With n packets that met queues of mean μ it errs by about μ/n,
/// where the mean of n offsets errs by μ/√n, and unequal queues do not pull it to one side.
///
/// Its standard deviation takes the split of the least delay between the two ways as anything from
/// all-out to all-back with equal chance (δ²/12), and the server's claim likewise (Λ²/3): these do not
/// shrink with the number of exchanges. What shrinks is what was loosened.
pub(super) fn estimate<'a>(
    points: impl Iterator<Item = &'a Point> + Clone,
    rate: Rate,
    now: Timestamp<Raw>,
) -> Option<PointEstimate> {
    let newest = points.clone().max_by_key(|point| point.at)?;
    let origin = newest.offset;
    let strip = Strip::of(points, rate, now, origin);
    let claim = newest.root_distance.as_secs_f64();
    let (delay, noise) = (strip.gap().max(0.0), strip.gap().min(0.0));
    // Since the newest exchange the rate may have begun to change, which its past does not show.
    let aged = 2.0 * rate.sigma * (now - newest.at).as_secs_f64();
    let variance = delay * delay / 12.0 + noise * noise + claim * claim / 3.0 + aged * aged;
    Some(PointEstimate {
        offset: origin + Span::from_secs_f64(strip.middle()),
        sigma_s: libm::sqrt(variance),
        samples: strip.count,
    })
}

/// One estimate from several sources, each weighted by 1/σ², those aside that are far less sure than the
/// surest: a far source would draw the estimate along by the asymmetry of its long way, which no number
/// of exchanges wears off.
///
/// The result's σ is the weighted mean of theirs together with how far they lie apart. It does not
/// shrink with their number: what makes them wrong (the asymmetry of this host's own uplink) they share.
pub(crate) fn combine(estimates: &[PointEstimate]) -> Option<PointEstimate> {
    let origin = estimates.first()?.offset;
    let surest = estimates.iter().map(|e| e.sigma_s).fold(f64::INFINITY, f64::min);
    let estimates = || estimates.iter().filter(|e| e.sigma_s <= surest * FAR_LESS_SURE);
    let weight = |estimate: &PointEstimate| 1.0 / (estimate.sigma_s * estimate.sigma_s).max(1e-18);
    let total: f64 = estimates().map(weight).sum();
    let mean = |of: &dyn Fn(&PointEstimate) -> f64| {
        estimates().map(|estimate| weight(estimate) * of(estimate)).sum::<f64>() / total
    };
    let from_origin = |estimate: &PointEstimate| (estimate.offset - origin).as_secs_f64();
    let centre = mean(&from_origin);
    let variance = mean(&|e| e.sigma_s * e.sigma_s);
    let spread = mean(&|e| (from_origin(e) - centre) * (from_origin(e) - centre));
    Some(PointEstimate {
        offset: origin + Span::from_secs_f64(centre),
        sigma_s: libm::sqrt(variance + spread),
        samples: estimates().map(|estimate| estimate.samples).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surer_source_counts_more_and_disagreement_shows() {
        let e = |ns, sigma_s| PointEstimate { offset: Span::from_ns(ns), sigma_s, samples: 8 };
        let both = combine(&[e(0, 1e-6), e(1_000, 3e-6)]).unwrap();
        assert_eq!(both.offset.as_ns(), 100, "{both:?}");
        assert!(both.sigma_s > 1e-6, "{both:?}");
        assert_eq!(both.samples, 16);
        assert_eq!(combine(&[]), None);
        let with_far = combine(&[e(0, 1e-6), e(300, 2e-6), e(1_000_000, 1e-4)]).unwrap();
        assert_eq!((with_far.offset.as_ns(), with_far.samples), (60, 16));
    }
}
