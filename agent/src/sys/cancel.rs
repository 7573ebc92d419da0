//! Notice of every step of the system clock, the moment it happens.
//!
//! A timer on CLOCK_REALTIME that is never meant to fire, but is cancelled by the kernel when the
//! clock is set (`TFD_TIMER_CANCEL_ON_SET`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::readiness::watch;

/// When the timer would fire, in seconds since 1970: the year 2106, after every 32-bit clock ended.
const NEVER: i64 = u32::MAX as i64;

/// Wakes up when somebody sets the system clock.
#[derive(Debug)]
pub struct StepNotice {
    timer: AsyncFd<Timer>,
}

/// What tokio wants of a file descriptor and nix does not give its timer.
#[derive(Debug)]
pub(super) struct Timer(pub(super) TimerFd);

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl StepNotice {
    /// Arms the timer. Fails where the kernel lacks cancel-on-set; steps are then noticed by the
    /// periodic cross-reading only. Needs a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_REALTIME,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        arm(&timer)?;
        Ok(Self { timer: watch(Timer(timer), Interest::READABLE)? })
    }

    /// Waits for the next step. It is told once: here, or by [`take`](Self::take).
    pub async fn stepped(&self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            if self.take()? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Whether there was a step that was not told yet. A step is told however small it is; so is waking
    /// from sleep, where the kernel sets the clock by the time that it slept.
    pub fn take(&self) -> io::Result<bool> {
        let timer = &self.timer.get_ref().0;
        loop {
            match nix::unistd::read(timer, &mut [0; 8]) {
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                // Reading it arms it for the next one.
                Err(Errno::ECANCELED) => return Ok(true),
                Ok(_) => {
                    arm(timer)?;
                    return Ok(true);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn arm(timer: &TimerFd) -> io::Result<()> {
    timer.set(
        Expiration::OneShot(TimeSpec::new(NEVER, 0)),
        TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
    )?;
    Ok(())
}
