use std::time::Duration;

/// Longest wait that a collector may ask for.
const LONGEST_TOLD: Duration = Duration::from_secs(600);

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

/// The wait of one who was told when to come back: that, and up to a quarter more, so that those who were told
/// the same do not come together. No collector sends an agent away for hours.
pub(super) fn told(wait: Duration, random: u32) -> Duration {
    let wait = wait.min(LONGEST_TOLD);
    wait + wait.mul_f64(0.25 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that an agent comes back no sooner than it was told, spread over a quarter more, and in the end.
    #[test]
    fn what_was_told_is_kept() {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        assert_eq!(told(8 * second, 0), 8 * second);
        assert_eq!(told(8 * second, u32::MAX), 10 * second);
        assert_eq!(told(day, 0), LONGEST_TOLD);
    }

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
