//! What the kernel says about the system clock: `adjtimex` with no modes set, so it only reads.

use std::mem::MaybeUninit;

use timebase::{KernelClock, Ppb, Span};

/// `struct timex.freq` counts in 2^-16 ppm.
const FREQUENCY_UNIT: i64 = 1 << 16;

/// The kernel's view of the system clock; all zeros and not synchronised if the call is refused.
pub fn kernel_clock() -> KernelClock {
    read().map_or_else(KernelClock::default, |timex| convert(&timex))
}

#[expect(unsafe_code, reason = "adjtimex has no safe wrapper; modes = 0 makes it a pure read")]
fn read() -> Option<libc::timex> {
    // SAFETY: all-zero bytes are a valid timex (plain integers), and zero modes change nothing.
    let mut timex: libc::timex = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the pointer is valid for the call and the kernel fills the struct.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex)
}

#[expect(clippy::useless_conversion, reason = "the fields are 32 bits wide on some targets")]
fn convert(timex: &libc::timex) -> KernelClock {
    let micros = |us: libc::c_long| Span::MICROSECOND.times(i64::from(us));
    KernelClock {
        synchronised: timex.status & libc::STA_UNSYNC == 0,
        max_error: micros(timex.maxerror),
        estimated_error: micros(timex.esterror),
        frequency: Ppb::new(i64::from(timex.freq).saturating_mul(1000) / FREQUENCY_UNIT),
        status: timex.status.cast_unsigned(),
        tai_offset_s: timex.tai,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the kernel's units are turned into ours, on a struct filled by the kernel itself.
    #[test]
    fn units_are_converted() {
        let mut timex = read().expect("adjtimex needs no privilege to read");
        timex.status = libc::STA_UNSYNC;
        timex.maxerror = 16_000_000;
        timex.freq = -(100 << 16);
        let clock = convert(&timex);
        assert!(!clock.synchronised);
        assert_eq!(clock.max_error, Span::from_secs(16));
        assert_eq!(clock.frequency, Ppb::from_ppm(-100));
    }
}
