use timebase::{Ppb, Raw, Span, Timestamp};

use super::{Point, Rate};

/// The likely value of `raw − UTC` at some moment: never a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PointEstimate {
    pub(crate) offset: Span,
    /// One standard deviation, seconds.
    pub(crate) sigma_s: f64,
    /// Exchanges it was chosen from.
    pub(crate) samples: u32,
}

/// The best recent exchange, moved on to `now`.
///
/// Best is least half delay plus what the oscillator may have done since. Its standard deviation takes
/// the split of the delay between the two ways as anything from all-out to all-back with equal chance
/// (δ²/12), the server's claim likewise (Λ²/3), and adds the observed jitter and the rate's uncertainty
/// times the age.
pub(super) fn estimate<'a>(
    recent: impl Iterator<Item = &'a Point>,
    rate: Option<Rate>,
    jitter: Span,
    drift: Ppb,
    now: Timestamp<Raw>,
) -> Option<PointEstimate> {
    // Without a measured rate: anything within the drift limit, whose standard deviation is 1/√3 of it.
    let wander = rate.map_or(drift.as_ppb() as f64 * 1e-9 / libm::sqrt(3.0), |rate| rate.sigma);
    let age_of = |point: &Point| (now - point.at).as_secs_f64();
    let cost = |point: &Point| point.delay.as_secs_f64() / 2.0 + wander * age_of(point).abs();
    let mut samples = 0;
    let best = recent.inspect(|_| samples += 1).min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    let age = age_of(best);
    let moved = Span::from_secs_f64(rate.map_or(0.0, |rate| rate.slope) * age);
    let (delay, claim) = (best.delay.as_secs_f64(), best.root_distance.as_secs_f64());
    let (jitter, wandered) = (jitter.as_secs_f64(), wander * age);
    let variance =
        delay * delay / 12.0 + claim * claim / 3.0 + jitter * jitter + wandered * wandered;
    Some(PointEstimate { offset: best.offset + moved, sigma_s: libm::sqrt(variance), samples })
}

/// One estimate from several sources, each weighted by 1/σ².
///
/// The result's σ is the weighted mean of theirs together with how far they lie apart. It does not
/// shrink with their number: what makes them wrong (the asymmetry of this host's own uplink) they share.
pub(crate) fn combine(estimates: &[PointEstimate]) -> Option<PointEstimate> {
    let origin = estimates.first()?.offset;
    let weight = |estimate: &PointEstimate| 1.0 / (estimate.sigma_s * estimate.sigma_s).max(1e-18);
    let total: f64 = estimates.iter().map(weight).sum();
    let mean = |of: &dyn Fn(&PointEstimate) -> f64| {
        estimates.iter().map(|estimate| weight(estimate) * of(estimate)).sum::<f64>() / total
    };
    let from_origin = |estimate: &PointEstimate| (estimate.offset - origin).as_secs_f64();
    let centre = mean(&from_origin);
    let variance = mean(&|e| e.sigma_s * e.sigma_s);
    let spread = mean(&|e| (from_origin(e) - centre) * (from_origin(e) - centre));
    Some(PointEstimate {
        offset: origin + Span::from_secs_f64(centre),
        sigma_s: libm::sqrt(variance + spread),
        samples: estimates.iter().map(|estimate| estimate.samples).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surer_source_counts_more_and_disagreement_shows() {
        let e = |ns, sigma_s| PointEstimate { offset: Span::from_ns(ns), sigma_s, samples: 8 };
        let both = combine(&[e(0, 1e-6), e(10_000, 1e-5)]).unwrap();
        assert!(both.offset.as_ns() < 200, "{both:?}");
        assert!(both.sigma_s > 1e-6, "{both:?}");
        assert_eq!(both.samples, 16);
        assert_eq!(combine(&[]), None);
    }
}
