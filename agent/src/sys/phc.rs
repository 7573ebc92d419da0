//! PTP hardware clocks (`/dev/ptpN`), read against the host's clocks. Opened for reading: nothing here
//! can set or steer one.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

/// Readings asked for at once.
const READINGS: usize = 5;
/// What the kernel has room for.
const MAX_READINGS: usize = 25;

/// `struct ptp_clock_time`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct KernelTime {
    sec: i64,
    nsec: u32,
    reserved: u32,
}

impl KernelTime {
    fn ns(self) -> i64 {
        self.sec.saturating_mul(1_000_000_000).saturating_add(self.nsec.into())
    }
}

/// `struct ptp_sys_offset_precise`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Precise {
    device: KernelTime,
    sys_realtime: KernelTime,
    sys_monoraw: KernelTime,
    reserved: [u32; 4],
}

/// `struct ptp_sys_offset_extended`: before, the clock, after.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Extended {
    n_samples: u32,
    clockid: i32,
    reserved: [u32; 2],
    ts: [[KernelTime; 3]; MAX_READINGS],
}

/// `struct ptp_sys_offset`: the system and the clock in turn, the system last.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Basic {
    n_samples: u32,
    reserved: [u32; 3],
    ts: [KernelTime; 2 * MAX_READINGS + 1],
}

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'=' as u64) << 8 | number
}
const PTP_SYS_OFFSET: u64 = request(1, 5, size_of::<Basic>());
const PTP_SYS_OFFSET_PRECISE: u64 = request(3, 8, size_of::<Precise>());
const PTP_SYS_OFFSET_EXTENDED: u64 = request(3, 9, size_of::<Extended>());

/// Which of the host's clocks a reading is against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// CLOCK_MONOTONIC_RAW, in hardware or by the kernel.
    Raw,
    /// CLOCK_REALTIME.
    Realtime,
}

/// One reading of the clock between two of the host's; all in nanoseconds of their own scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The host's clock before.
    pub before: i64,
    /// The hardware clock.
    pub device: i64,
    /// The host's clock after; the same as before where both are captured at once.
    pub after: i64,
}

/// Opens a hardware clock for reading.
pub fn open(path: &Path) -> io::Result<File> {
    let device = File::open(path)?;
    read(&device)?;
    Ok(device)
}

/// Reads the clock a few times by the best means that kernel and driver have.
pub fn read(device: &File) -> io::Result<(Against, Vec<Reading>)> {
    let mut precise = Precise::default();
    if ioctl(device, PTP_SYS_OFFSET_PRECISE, &mut precise).is_ok() {
        let raw = precise.sys_monoraw.ns();
        let reading = Reading { before: raw, device: precise.device.ns(), after: raw };
        return Ok((Against::Raw, vec![reading]));
    }
    // Kernels before 6.12 know no clock but CLOCK_REALTIME here, and refuse others.
    for (against, clockid) in
        [(Against::Raw, libc::CLOCK_MONOTONIC_RAW), (Against::Realtime, libc::CLOCK_REALTIME)]
    {
        let ts = [[KernelTime::default(); 3]; MAX_READINGS];
        let mut extended = Extended { n_samples: READINGS as u32, clockid, reserved: [0; 2], ts };
        if ioctl(device, PTP_SYS_OFFSET_EXTENDED, &mut extended).is_ok() {
            let readings = extended.ts.iter().take(READINGS).map(|[before, clock, after]| {
                Reading { before: before.ns(), device: clock.ns(), after: after.ns() }
            });
            return Ok((against, readings.collect()));
        }
    }
    let ts = [KernelTime::default(); 2 * MAX_READINGS + 1];
    let mut basic = Basic { n_samples: READINGS as u32, reserved: [0; 3], ts };
    ioctl(device, PTP_SYS_OFFSET, &mut basic)?;
    let readings = (0..READINGS).map(|i| Reading {
        before: basic.ts[2 * i].ns(),
        device: basic.ts[2 * i + 1].ns(),
        after: basic.ts[2 * i + 2].ns(),
    });
    Ok((Against::Realtime, readings.collect()))
}

#[expect(unsafe_code, reason = "these ioctls have no safe wrapper")]
fn ioctl<T>(device: &File, request: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: every request above is made of the size of the structure it is used with, the kernel reads
    // and writes that many bytes, all of them plain integers; the descriptor is open.
    let outcome = unsafe { libc::ioctl(device.as_raw_fd(), request as _, argument) };
    if outcome < 0 { Err(Errno::last().into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the requests are those of the kernel's header, and that what is no clock is refused.
    #[test]
    fn only_hardware_clocks_are_taken() {
        assert_eq!(PTP_SYS_OFFSET, 0x4340_3d05);
        assert_eq!(PTP_SYS_OFFSET_PRECISE, 0xc040_3d08);
        assert_eq!(PTP_SYS_OFFSET_EXTENDED, 0xc4c0_3d09);
        assert!(open(Path::new("/dev/null")).is_err());
    }
}
