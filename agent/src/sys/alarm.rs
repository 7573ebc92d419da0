//! Waking up at a moment by a timer of the kernel.
//!
//! Tokio's own timers wake the processor about three times for a wait of seconds, once for every level
//! of their wheel; for a process that mostly waits, that is most of what it costs.

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

/// One alarm; set anew each time it is waited for.
#[derive(Debug)]
pub struct Alarm {
    /// `None` where the kernel has no such timer: tokio's does, then.
    timer: Option<AsyncFd<Timer>>,
}

impl Alarm {
    /// Needs a tokio runtime.
    pub fn unset() -> Self {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok();
        Self { timer: timer.and_then(|timer| watch(Timer(timer), Interest::READABLE).ok()) }
    }

    /// Waits until `at`. When it is dropped before, nothing is left over.
    pub async fn rings_at(&self, at: Instant) {
        match &self.timer {
            Some(timer) if rings(timer, at).await.is_ok() => {}
            _ => sleep_until(at).await,
        }
    }
}

async fn rings(timer: &AsyncFd<Timer>, at: Instant) -> std::io::Result<()> {
    let wait = at.saturating_duration_since(Instant::now()).max(SHORTEST);
    let once = Expiration::OneShot(TimeSpec::from(wait));
    // Forgets an earlier alarm that rang when nobody listened.
    timer.get_ref().0.set(once, TimerSetTimeFlags::empty())?;
    loop {
        let mut ready = timer.readable().await?;
        let rang = nix::unistd::read(&timer.get_ref().0, &mut [0; 8]);
        if rang != Err(Errno::EINTR) {
            ready.clear_ready();
        }
        match rang {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that an alarm never rings early, can be waited for again, and rings at once for a moment
    /// that has passed.
    #[tokio::test]
    async fn an_alarm_rings_in_time() {
        let alarm = Alarm::unset();
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
