//! The only reader of real clocks in the agent.
#![expect(clippy::disallowed_methods, reason = "this is the module that reads real clocks")]

use agent_core::ClockReading;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use timebase::{Bounds, Host, Raw, Span, Timestamp};

/// How often a cross-reading is tried; the tightest try is kept. A preempted try is wide, and three
/// in a row are rarely all preempted.
const TRIES: usize = 3;
/// Less than this is no suspend: what a sleep shorter than it could hide is far below what is ever claimed
/// of a host that slept.
const SUSPEND_LEAST: Span = Span::MILLISECOND;
/// What the kernel's own rounding may make of two clocks that were not set.
const SET_LEAST: Span = Span::from_ns(100);
/// Clocks read one after the other within this were read without a break.
const UNBROKEN: Span = Span::from_ns(2_000);

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
pub fn set_to() -> Option<Bounds> {
    tightest((0..TRIES).map_while(|_| {
        let before = try_read(ClockId::CLOCK_BOOTTIME)?;
        let realtime = read(ClockId::CLOCK_REALTIME);
        let after = try_read(ClockId::CLOCK_BOOTTIME)?;
        let less = |boottime| Span::from_ns(realtime.saturating_sub(boottime));
        Some(Bounds::between(less(after), less(before)))
    }))
}

/// How far the clock was set between two values of [`set_to`]; `None` if it is not certain that it was, or
/// if the kernel does not tell.
pub fn set_between(before: Option<Bounds>, after: Option<Bounds>) -> Option<Span> {
    let (before, after) = (before?, after?);
    let certainly = (after.lo() - before.hi()).max(before.lo() - after.hi());
    (certainly > SET_LEAST).then(|| after.midpoint() - before.midpoint())
}

/// Time since boot; suspended time is included where the kernel counts it.
pub fn since_boot() -> Span {
    let boottime = try_read(ClockId::CLOCK_BOOTTIME);
    Span::from_ns(boottime.unwrap_or_else(|| read(ClockId::CLOCK_MONOTONIC)))
}

/// How long the host was suspended since boot: CLOCK_BOOTTIME − CLOCK_MONOTONIC, which grows only while
/// it sleeps. The one is read between two readings of the other, so that being preempted between them
/// does not look like sleep. `None` where the kernel does not count.
pub fn suspended_so_far() -> Option<Bounds> {
    tightest((0..TRIES).map_while(|_| {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let boottime = try_read(ClockId::CLOCK_BOOTTIME)?;
        let after = read(ClockId::CLOCK_MONOTONIC);
        let less = |monotonic| Span::from_ns(boottime.saturating_sub(monotonic));
        Some(Bounds::between(less(after), less(before)))
    }))
}

/// The first that was read without a break, or the best there is.
fn tightest(tries: impl Iterator<Item = Bounds>) -> Option<Bounds> {
    let mut best: Option<Bounds> = None;
    for next in tries {
        if best.is_none_or(|best| next.width() < best.width()) {
            best = Some(next);
        }
        if next.width() <= UNBROKEN {
            break;
        }
    }
    best
}

/// How long the host was suspended between two values of [`suspended_so_far`]; `None` if that is not
/// certain, or if the kernel does not count.
pub fn suspended_between(before: Option<Bounds>, after: Option<Bounds>) -> Option<Span> {
    let (before, after) = (before?, after?);
    let certainly = after.lo() - before.hi();
    (certainly > SUSPEND_LEAST).then(|| after.midpoint() - before.midpoint())
}

/// What the earlier of two values without a suspend between them is known to be by both: what was read
/// with a break is not remembered as more than what was read without one.
pub fn suspended_by_both(before: Option<Bounds>, after: Option<Bounds>) -> Option<Bounds> {
    match (before, after) {
        (Some(before), Some(after)) => {
            // Suspended time never shrinks.
            Some(Bounds::between(before.lo().min(after.hi()), before.hi().min(after.hi())))
        }
        (before, after) => before.or(after),
    }
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
        let suspended = suspended_so_far().unwrap();
        assert!(suspended.hi() >= Span::ZERO && suspended.width() < Span::SECOND);
    }

    fn bounds(lo: i64, hi: i64) -> Option<Bounds> {
        Bounds::new(Span::from_ns(lo), Span::from_ns(hi))
    }

    /// Proves that a sleep of some milliseconds is one, and that neither a break between two readings nor
    /// a kernel that does not count is.
    #[test]
    fn short_sleeps_are_told_from_breaks() {
        const MS: i64 = 1_000_000;
        let between = |before, after| suspended_between(before, after).map(Span::as_ns);
        assert_eq!(between(bounds(-40, 60), bounds(5 * MS - 40, 5 * MS + 60)), Some(5 * MS));
        assert_eq!(between(bounds(-40, 60), bounds(-50, 200 * MS)), None);
        assert_eq!(between(bounds(-200 * MS, 60), bounds(-50, 50)), None);
        assert_eq!(between(bounds(0, 0), bounds(MS, MS)), None);
        assert_eq!(between(None, bounds(MS, MS)), None);
        assert_eq!(between(bounds(0, 0), None), None);
    }

    /// Proves that a clock that was set shows it in both directions, however small the step, and that one
    /// that was not does not, as two readings of this machine's own clocks do not.
    #[test]
    fn a_set_clock_is_told_from_a_break() {
        let between = |before, after| set_between(before, after).map(Span::as_ns);
        assert_eq!(between(bounds(-40, 60), bounds(4_960, 5_060)), Some(5_000));
        assert_eq!(between(bounds(4_960, 5_060), bounds(-40, 60)), Some(-5_000));
        assert_eq!(between(bounds(-40, 60), bounds(160, 260)), None);
        assert_eq!(between(bounds(-40, 60), bounds(-900_000, 900_000)), None);
        assert_eq!(between(None, bounds(0, 0)), None);
        let now = set_to();
        assert!(now.is_some());
        assert_eq!(set_between(now, set_to()), None);
    }

    /// Proves that of several readings one without a break is taken.
    #[test]
    fn a_reading_without_a_break_is_taken() {
        let tries =
            || [bounds(-900_000, 100), bounds(-30, 30), bounds(-10, 10)].into_iter().flatten();
        assert_eq!(tightest(tries()), bounds(-30, 30));
        assert_eq!(tightest(tries().take(1)), bounds(-900_000, 100));
        assert_eq!(tightest(tries().take(0)), None);
    }

    /// Proves that a value read across a break does not hide the next sleep.
    #[test]
    fn a_value_that_was_too_high_comes_down_again() {
        const MS: i64 = 1_000_000;
        let broken = bounds(-40, 300 * MS);
        let after_sleep = bounds(50 * MS - 40, 50 * MS + 40);
        assert_eq!(suspended_between(broken, after_sleep), None);
        let remembered = suspended_by_both(broken, bounds(-30, 30));
        assert_eq!(remembered, bounds(-40, 30));
        assert!(suspended_between(remembered, after_sleep).is_some());
        assert_eq!(suspended_by_both(bounds(-10, 10), broken), bounds(-10, 10));
        assert_eq!(suspended_by_both(None, None), None);
    }
}
