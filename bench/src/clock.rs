//! The only reader of real clocks in the benchmark. All clocks are in nanoseconds.
#![expect(clippy::disallowed_methods, reason = "this is the module that reads real clocks")]

use nix::time::{ClockId, clock_gettime};

/// Tries of a cross-reading; the tightest is kept.
const TRIES: usize = 5;

/// CLOCK_MONOTONIC_RAW and CLOCK_REALTIME at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) raw: i64,
    pub(crate) realtime: i64,
}

/// This moment.
pub(crate) fn moment() -> Moment {
    let tries = (0..TRIES).map(|_| {
        let before = read(ClockId::CLOCK_MONOTONIC_RAW);
        let realtime = read(ClockId::CLOCK_REALTIME);
        let after = read(ClockId::CLOCK_MONOTONIC_RAW);
        (after - before, Moment { raw: before + (after - before) / 2, realtime })
    });
    let tightest = tries.min_by_key(|(width, _)| *width);
    tightest.map_or(Moment { raw: 0, realtime: 0 }, |(_, moment)| moment)
}

/// CLOCK_REALTIME.
pub(crate) fn realtime() -> i64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> i64 {
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}
