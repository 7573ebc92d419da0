//! The only reader of real clocks in the agent.
#![expect(clippy::disallowed_methods, reason = "this is the module that reads real clocks")]

use agent_core::ClockReading;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use timebase::{Host, Raw, Span, Timestamp};

/// How often a cross-reading is tried; the tightest try is kept. A preempted try is wide, and three
/// in a row are rarely all preempted.
const TRIES: usize = 3;
/// Less suspended time than this is the noise between two clock readings.
const SUSPEND_LEAST: Span = Span::from_millis(100);

/// CLOCK_REALTIME and CLOCK_MONOTONIC_RAW at one moment.
///
/// The system clock is read between two readings of the raw clock; half their distance is the
/// uncertainty.
pub fn cross_read() -> ClockReading {
    let first = sandwich();
    (1..TRIES)
        .map(|_| sandwich())
        .fold(first, |best, next| if next.uncertainty < best.uncertainty { next } else { best })
}

/// CLOCK_MONOTONIC_RAW.
pub fn raw() -> Timestamp<Raw> {
    Timestamp::from_ns(read(ClockId::CLOCK_MONOTONIC_RAW))
}

/// CLOCK_REALTIME.
pub fn realtime() -> Timestamp<Host> {
    Timestamp::from_ns(read(ClockId::CLOCK_REALTIME))
}

/// CLOCK_REALTIME − CLOCK_BOOTTIME: changes only when the clock is set. Slewing moves both alike, and
/// both count sleep. `None` where the kernel has no CLOCK_BOOTTIME.
pub fn set_to() -> Option<Span> {
    let tries = (0..TRIES).filter_map(|_| {
        let before = try_read(ClockId::CLOCK_BOOTTIME)?;
        let realtime = read(ClockId::CLOCK_REALTIME);
        let after = try_read(ClockId::CLOCK_BOOTTIME)?;
        Some((after - before, realtime - before.midpoint(after)))
    });
    tries.min().map(|(_, difference)| Span::from_ns(difference))
}

/// Time since boot; suspended time is included where the kernel counts it.
pub fn since_boot() -> Span {
    let boottime = try_read(ClockId::CLOCK_BOOTTIME);
    Span::from_ns(boottime.unwrap_or_else(|| read(ClockId::CLOCK_MONOTONIC)))
}

/// How long the host was suspended since boot: CLOCK_BOOTTIME − CLOCK_MONOTONIC. Grows only while it
/// sleeps. `None` where the kernel does not count.
pub fn suspended_so_far() -> Option<Span> {
    let monotonic = read(ClockId::CLOCK_MONOTONIC);
    let boottime = try_read(ClockId::CLOCK_BOOTTIME)?;
    Some(Span::from_ns(boottime.saturating_sub(monotonic)))
}

/// How long the host was suspended between two values of [`suspended_so_far`]; `None` if it was not, or
/// if the kernel does not count.
pub fn suspended_between(before: Option<Span>, after: Option<Span>) -> Option<Span> {
    let lasted = after? - before?;
    (lasted > SUSPEND_LEAST).then_some(lasted)
}

fn sandwich() -> ClockReading {
    let before = raw();
    let realtime = realtime();
    let after = raw();
    let uncertainty = (after - before).half();
    ClockReading { raw: before + uncertainty, realtime, uncertainty }
}

/// Nanoseconds shown by a clock that every Linux has. In a simulator that lacks it, it stands still at
/// zero, which the engine takes for no progress.
fn read(clock: ClockId) -> i64 {
    try_read(clock).unwrap_or(0)
}

fn try_read(clock: ClockId) -> Option<i64> {
    let time: TimeSpec = clock_gettime(clock).ok()?;
    Some(time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a cross-reading brackets the moment between two raw readings.
    #[test]
    fn a_cross_reading_lies_between_its_neighbours() {
        let before = raw();
        let reading = cross_read();
        let after = raw();
        assert!(before <= reading.raw && reading.raw <= after);
        assert!(reading.uncertainty >= Span::ZERO);
        assert!(since_boot() > Span::ZERO);
        assert!(suspended_so_far().unwrap() >= -Span::MILLISECOND);
    }
}
