//! Pulses per second as the kernel stamps them (RFC 2783, `/dev/ppsN`). Only ever read: neither the
//! capture mode nor the kernel's own discipline is touched.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use timebase::{Host, Timestamp};

/// `_IOWR('p', 0xa4, struct pps_fdata *)`: the size in it is that of a pointer.
const PPS_FETCH: u64 = 3 << 30 | (size_of::<*const ()>() as u64) << 16 | (b'p' as u64) << 8 | 0xa4;

/// `struct pps_ktime`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct KernelTime {
    sec: i64,
    nsec: i32,
    flags: u32,
}

/// `struct pps_fdata`: what was captured last, and how long to wait for more.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct FetchData {
    assert_sequence: u32,
    clear_sequence: u32,
    assert: KernelTime,
    clear: KernelTime,
    current_mode: i32,
    timeout: KernelTime,
}

/// The last pulse of each edge: its number, and CLOCK_REALTIME then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulses {
    /// The rising edge.
    pub assert: (u32, Timestamp<Host>),
    /// The falling edge.
    pub clear: (u32, Timestamp<Host>),
}

/// The last pulses of the device, without waiting.
#[expect(unsafe_code, reason = "the ioctl has no safe wrapper")]
pub fn fetch(device: &File) -> io::Result<Pulses> {
    // A timeout of zero: do not wait.
    let mut data = FetchData::default();
    // SAFETY: the kernel reads and fills a pps_fdata of this layout; the descriptor is open.
    let outcome = unsafe { libc::ioctl(device.as_raw_fd(), PPS_FETCH as _, &raw mut data) };
    if outcome < 0 {
        return Err(Errno::last().into());
    }
    let at = |time: KernelTime| {
        Timestamp::from_ns(time.sec.saturating_mul(1_000_000_000).saturating_add(time.nsec.into()))
    };
    Ok(Pulses {
        assert: (data.assert_sequence, at(data.assert)),
        clear: (data.clear_sequence, at(data.clear)),
    })
}

/// Opens a pulse device for reading.
pub fn open(path: &Path) -> io::Result<File> {
    let device = File::open(path)?;
    fetch(&device)?;
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the structure has the kernel's size, and that what is no pulse device is refused.
    #[test]
    fn only_pulse_devices_are_taken() {
        assert_eq!((size_of::<KernelTime>(), size_of::<FetchData>()), (16, 64));
        #[cfg(target_pointer_width = "64")]
        assert_eq!(PPS_FETCH, 0xc008_70a4);
        assert!(open(Path::new("/dev/null")).is_err());
    }
}
