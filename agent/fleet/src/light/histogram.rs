//! Durations by size, in buckets 3 % wide: percentiles of millions in 16 KiB.

use std::time::Duration;

/// Buckets to each doubling.
const STEPS: u64 = 32;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((64 - STEPS_LOG2 + 1) as usize) << STEPS_LOG2;

/// Counts of durations, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, most_us: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.most_us = self.most_us.max(us);
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The longest, in milliseconds.
    pub(crate) fn most_ms(&self) -> f64 {
        self.most_us as f64 / 1_000.0
    }

    /// The duration that this share does not exceed, in milliseconds; 0 if there is none.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest(bucket).min(self.most_us) as f64 / 1_000.0;
            }
        }
        0.0
    }
}

/// Small ones have a bucket each; above, a bucket for each of the leading bits.
fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let shift = us.ilog2() - STEPS_LOG2;
    (((u64::from(shift) + 1) << STEPS_LOG2) + ((us >> shift) - STEPS)) as usize
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (shift, step) = ((bucket >> STEPS_LOG2) - 1, bucket & (STEPS - 1));
    ((STEPS + step) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that every value falls into a bucket whose highest value is at most 1/32 above it, and that
    /// buckets are in order.
    #[test]
    fn buckets_are_narrow() {
        let mut before = 0;
        for us in
            (0..200).chain((0..58).map(|shift| (1 << shift) + (1 << shift) / 3)).chain([u64::MAX])
        {
            let top = highest(bucket(us));
            assert!(top >= us && top - us <= us / STEPS, "{us} in a bucket up to {top}");
            assert!(us < before || bucket(us) >= bucket(before));
            before = us;
        }
    }

    /// Proves that percentiles are those of the sorted list, within the width of a bucket.
    #[test]
    fn percentiles_are_of_the_sorted_list() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), 0.0);
        for ms in 1..=1_000 {
            histogram.add(Duration::from_millis(ms));
        }
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = histogram.quantile_ms(share);
            assert!((expected..=expected * 1.04).contains(&found), "{share}: {found}");
        }
        assert_eq!((histogram.total(), histogram.most_ms()), (1_000, 1_000.0));
    }
}
