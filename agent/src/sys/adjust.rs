//! Telling the kernel what the system clock is to do: the only code here that can set a clock. Without
//! discipline nothing calls it, and the process has given up the capability it needs ([`crate::privilege`]).

use std::io;
use std::mem::MaybeUninit;

use agent_core::{ClockStatus, Steer, SteerError};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use nix::unistd::{SysconfVar, sysconf};
use timebase::{Leap, Span};

use super::clock;

/// `struct timex.freq` counts in 2^-16 ppm; this many of them are one part per billion.
const FREQUENCY_UNITS: f64 = 65.536;
/// The kernel's limit of the frequency alone; beyond it the tick does the coarse part.
const FREQUENCY_LIMIT_PPB: f64 = 500e3;
/// Ticks a second where the system does not say.
const USUAL_HZ: libc::c_long = 100;
/// The kernel calls a clock unsynchronised from this `maxerror` on.
const WORST_ERROR_US: i64 = 16_000_000;

/// The hand on the system clock. Notices when somebody else moves it, too.
#[derive(Debug)]
pub struct Adjuster {
    /// Length of the tick without correction, µs, and what one more µs of it changes, ppb.
    tick: libc::c_long,
    tick_ppb: f64,
    /// Frequency and tick as the kernel had them after they were set last.
    set: Option<(libc::c_long, libc::c_long)>,
}

impl Default for Adjuster {
    fn default() -> Self {
        let hz = sysconf(SysconfVar::CLK_TCK).ok().flatten().map_or(USUAL_HZ, |hz| hz.max(1));
        Self { tick: 1_000_000 / hz, tick_ppb: hz as f64 * 1e3, set: None }
    }
}

impl Adjuster {
    /// The kernel's present frequency, in parts per billion over nominal.
    pub fn frequency(&self) -> f64 {
        adjust(0, |_| ()).map_or(0.0, |timex| self.ppb(&timex))
    }

    /// Does it, and never more than once.
    ///
    /// # Errors
    /// [`SteerError::Foreign`] if the frequency is not the one set last; nothing was done then.
    pub fn apply(&mut self, steer: Steer) -> Result<(), SteerError> {
        self.check()?;
        match steer {
            Steer::Frequency(ppb) => self.set_frequency(ppb),
            Steer::Step(by) => step(by),
            Steer::Status(status) => set_status(&status),
        }
    }

    /// Lets go: what others do to the clock from now on is no surprise.
    pub fn let_go(&mut self) {
        self.set = None;
    }

    /// Before the first change, what earlier hands left under way is ended: a phase-locked loop's rest
    /// and an adjtime().
    fn check(&mut self) -> Result<(), SteerError> {
        let found = adjust(0, |_| ())?;
        match self.set {
            Some(set) if set == (found.freq, found.tick) => Ok(()),
            Some(_) => {
                self.set = None;
                Err(SteerError::Foreign)
            }
            None => {
                adjust(libc::ADJ_STATUS | libc::ADJ_OFFSET, |timex| {
                    timex.status = libc::STA_PLL | libc::STA_UNSYNC;
                })?;
                adjust(libc::ADJ_STATUS, |timex| timex.status = libc::STA_UNSYNC)?;
                // A simulator may not know adjtime(); then nobody has begun one.
                let _ = adjust(libc::ADJ_OFFSET_SINGLESHOT, |_| ());
                self.set = Some((found.freq, found.tick));
                Ok(())
            }
        }
    }

    fn set_frequency(&mut self, ppb: f64) -> Result<(), SteerError> {
        let coarse =
            if ppb.abs() > FREQUENCY_LIMIT_PPB { (ppb / self.tick_ppb).round() } else { 0.0 };
        let fine = (ppb - coarse * self.tick_ppb) * FREQUENCY_UNITS;
        let tick = self.tick + coarse as libc::c_long;
        let ticks = self.set.is_some_and(|(_, before)| before != tick);
        let modes = libc::ADJ_FREQUENCY | if ticks { libc::ADJ_TICK } else { 0 };
        let now = adjust(modes, |timex| {
            timex.freq = fine.round() as libc::c_long;
            timex.tick = tick;
        })?;
        self.set = Some((now.freq, now.tick));
        Ok(())
    }

    fn ppb(&self, timex: &libc::timex) -> f64 {
        let coarse = (timex.tick - self.tick) as f64 * self.tick_ppb;
        coarse + timex.freq as f64 / FREQUENCY_UNITS
    }
}

fn step(by: Span) -> Result<(), SteerError> {
    let (seconds, ns) =
        (by.as_ns().div_euclid(1_000_000_000), by.as_ns().rem_euclid(1_000_000_000));
    let moved = adjust(libc::ADJ_SETOFFSET | libc::ADJ_NANO, |timex| {
        timex.time.tv_sec = seconds as libc::time_t;
        timex.time.tv_usec = ns as libc::suseconds_t;
    });
    match moved {
        Err(SteerError::Kernel(_)) => {
            // Without ADJ_SETOFFSET a step is off by the time it takes, which the next slew corrects.
            let to = (clock::realtime() + by).as_ns();
            let to = TimeSpec::new(
                to.div_euclid(1_000_000_000) as libc::time_t,
                to.rem_euclid(1_000_000_000) as libc::c_long,
            );
            clock_settime(ClockId::CLOCK_REALTIME, to).map_err(refusal)
        }
        other => other.map(drop),
    }
}

fn set_status(status: &ClockStatus) -> Result<(), SteerError> {
    let unsynchronised = if status.synchronised { 0 } else { libc::STA_UNSYNC };
    let leap = match status.leap {
        Leap::Insert => libc::STA_INS,
        Leap::Delete => libc::STA_DEL,
        Leap::None | Leap::Unsynchronised => 0,
    };
    let tai = if status.tai_offset_s.is_some() { libc::ADJ_TAI } else { 0 };
    let modes = libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR | tai;
    adjust(modes, |timex| {
        timex.status = unsynchronised | leap;
        timex.maxerror = micros(status.max_error) as libc::c_long;
        timex.esterror = micros(status.estimated_error) as libc::c_long;
        timex.constant = libc::c_long::from(status.tai_offset_s.unwrap_or(0));
    })
    .map(drop)
}

/// Rounded up, and never more than the kernel takes.
fn micros(error: Span) -> i64 {
    let ns = error.abs().as_ns();
    (ns / 1_000 + i64::from(ns % 1_000 != 0)).min(WORST_ERROR_US)
}

#[expect(unsafe_code, reason = "clock_adjtime has no safe wrapper")]
fn adjust(
    modes: libc::c_uint,
    fill: impl FnOnce(&mut libc::timex),
) -> Result<libc::timex, SteerError> {
    // SAFETY: all-zero bytes are a valid timex (plain integers).
    let mut timex: libc::timex = unsafe { MaybeUninit::zeroed().assume_init() };
    fill(&mut timex);
    timex.modes = modes;
    // SAFETY: the pointer is valid for the call, and the kernel fills the struct.
    let state = unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &raw mut timex) };
    if state >= 0 { Ok(timex) } else { Err(refusal(Errno::last())) }
}

fn refusal(errno: Errno) -> SteerError {
    match errno {
        Errno::EPERM | Errno::EACCES => SteerError::Permission,
        other => SteerError::Kernel(io::Error::from(other).raw_os_error().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that errors are rounded up into the kernel's units and kept within its limit, and that
    /// reading changes nothing and needs no privilege.
    #[test]
    fn units_are_the_kernels() {
        assert_eq!(micros(Span::from_ns(1)), 1);
        assert_eq!(micros(Span::from_ns(-2_000)), 2);
        assert_eq!(micros(Span::MAX), WORST_ERROR_US);
        let adjuster = Adjuster::default();
        assert!(adjuster.frequency().abs() < 1e8);
        let mut timex = adjust(0, |_| ()).unwrap();
        timex.freq = -(100 << 16);
        timex.tick = adjuster.tick + 3;
        assert!((adjuster.ppb(&timex) - (3.0 * adjuster.tick_ppb - 1e5)).abs() < 1e-6);
    }
}
