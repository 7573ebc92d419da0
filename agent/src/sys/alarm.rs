//! Waking up at a moment by a timer of the kernel.
//!
//! Tokio's own timers wake the processor about three times for a wait of seconds, once for every level
//! of their wheel; for a process that mostly waits, that is most of what it costs.

use std::io::ErrorKind;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::cancel::Timer;
use super::readiness::watch;

/// The shortest wait: zero would disarm the timer.
const SHORTEST: Duration = Duration::from_nanos(1);

/// One alarm. The kernel is told when it is to ring at another moment than it was set for.
#[derive(Debug)]
pub struct Alarm {
    /// `None` where the kernel has no such timer: tokio's does, then.
    timer: Option<AsyncFd<Timer>>,
    set_for: Option<Instant>,
}

impl Alarm {
    /// Needs a tokio runtime.
    pub fn unset() -> Self {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok();
        let timer = timer.and_then(|timer| watch(Timer(timer), Interest::READABLE).ok());
        Self { timer, set_for: None }
    }

    /// Waits until `at`. When it is dropped before, it goes on running: waiting for the same moment
    /// again costs nothing.
    pub async fn rings_at(&mut self, at: Instant) {
        if self.rings(at).await.is_err() {
            sleep_until(at).await;
        }
    }

    async fn rings(&mut self, at: Instant) -> std::io::Result<()> {
        let timer = self.timer.as_ref().ok_or(ErrorKind::Unsupported)?;
        if self.set_for != Some(at) {
            set(&timer.get_ref().0, at)?;
            self.set_for = Some(at);
        }
        // A moment that has passed is one that rang: the timer need not be read to know. It may also
        // have rung for an earlier moment when nobody listened.
        while Instant::now() < at {
            timer.readable().await?.clear_ready();
        }
        Ok(())
    }
}

fn set(timer: &TimerFd, at: Instant) -> Result<(), Errno> {
    let wait = at.saturating_duration_since(Instant::now()).max(SHORTEST);
    timer.set(Expiration::OneShot(TimeSpec::from(wait)), TimerSetTimeFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that an alarm never rings early, can be waited for again, and rings at once for a moment
    /// that has passed.
    #[tokio::test]
    async fn an_alarm_rings_in_time() {
        let mut alarm = Alarm::unset();
        for ms in [20, 0, 5] {
            let at = Instant::now() + Duration::from_millis(ms);
            alarm.rings_at(at).await;
            assert!(Instant::now() >= at);
        }
        let far = Instant::now() + Duration::from_secs(3600);
        let left = tokio::time::timeout(Duration::from_millis(10), alarm.rings_at(far)).await;
        assert!(left.is_err());
        alarm.rings_at(Instant::now()).await;
    }
}
