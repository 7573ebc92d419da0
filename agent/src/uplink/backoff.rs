use std::time::Duration;

/// Jittered exponential back-off: each wait is random between half and the whole of a step that
/// doubles from `least` to `most`, so that a fleet does not come back all at once.
#[derive(Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    step: Duration,
}

impl Backoff {
    /// Starts at `least`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, step: least }
    }

    /// The next wait; `random` is uniform over all of u32.
    pub fn next(&mut self, random: u32) -> Duration {
        let half = self.step / 2;
        let wait = half + half.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.step = (self.step * 2).min(self.most);
        wait
    }

    /// Whether no wait was taken since the start or the last reset.
    pub fn is_fresh(&self) -> bool {
        self.step == self.least
    }

    /// Things went well: the next wait is short again.
    pub fn reset(&mut self) {
        self.step = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that waits double up to the limit, stay within half and the whole step, and restart.
    #[test]
    fn waits_double_and_are_jittered() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(backoff.next(0), Duration::from_millis(500));
        assert_eq!(backoff.next(u32::MAX), Duration::from_secs(2));
        for _ in 0..20 {
            backoff.next(7);
        }
        assert_eq!(backoff.next(0), Duration::from_secs(30));
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX), Duration::from_secs(1));
    }
}
