use std::time::Duration;

use tokio::time::Instant;

use crate::config::ingest::Ingest;

/// How fast one host may report, and how much at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    per_second: f64,
    burst: f64,
}

impl Quota {
    pub(super) fn new(config: &Ingest) -> Self {
        // A full batch must be possible, or it would be put off for ever.
        let burst = config.burst.max(config.max_batch).get();
        Self { per_second: config.reports_per_second.get().into(), burst: burst.into() }
    }
}

/// A token bucket. Every session of a host draws on the same one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(quota: Quota, now: Instant) -> Self {
        Self { left: quota.burst, at: now }
    }

    /// Takes room for `reports`, or says in how long there will be.
    pub(super) fn take(
        &mut self,
        quota: Quota,
        reports: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * quota.per_second).min(quota.burst);
        self.at = now;
        let missing = reports as f64 - self.left;
        if missing > 0.0 {
            return Err(Duration::from_secs_f64(missing / quota.per_second));
        }
        self.left -= reports as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a host gets its burst at once, then its rate and no more.
    #[test]
    fn burst_then_rate() {
        let quota = Quota { per_second: 20.0, burst: 100.0 };
        let start = Instant::now();
        let mut bucket = Bucket::full(quota, start);
        assert_eq!(bucket.take(quota, 100, start), Ok(()));
        assert_eq!(bucket.take(quota, 10, start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(quota, 10, later), Ok(()));
        assert!(bucket.take(quota, 1, later).is_err());
        assert_eq!(bucket.take(quota, 100, later + Duration::from_secs(3_600)), Ok(()));
    }
}
