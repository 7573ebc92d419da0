//! chrony's SOCK: a datagram socket of ours, into which gpsd and others write samples.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use agent_core::RefclockTime;
use timebase::{Host, Span, Timestamp, Utc};
use tokio::net::UnixDatagram;

use super::{Garbage, Reading, When, leap};

/// `struct sock_sample` where `time_t` is 64 bits wide: seconds, microseconds, a double, four ints.
pub(super) const SAMPLE_BYTES: usize = 40;
const MAGIC: i32 = 0x534f_434b;
/// More than this from the system clock is nonsense: 68 years.
const MOST_OFFSET_S: f64 = 2_147_483_648.0;

/// Makes the socket. One that a former run left is replaced; anything else in its place is not touched.
pub(super) fn bind(path: &Path, permissions: u32) -> io::Result<UnixDatagram> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")),
        Err(_) => {}
    }
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(permissions))?;
    Ok(socket)
}

/// One datagram.
pub(super) fn decode(bytes: &[u8]) -> Result<Reading, Garbage> {
    let bytes: &[u8; SAMPLE_BYTES] = bytes.try_into().map_err(|_| Garbage::Size)?;
    let int = |at: usize| i32::from_ne_bytes(super::word(bytes, at));
    let long = |at: usize| i64::from_ne_bytes(super::long(bytes, at));
    if int(36) != MAGIC {
        return Err(Garbage::Magic);
    }
    let offset = f64::from_ne_bytes(super::long(bytes, 16));
    if !offset.is_finite() || offset.abs() >= MOST_OFFSET_S {
        return Err(Garbage::Time);
    }
    let at = host(long(0), long(8)).ok_or(Garbage::Time)?;
    let leap = leap(int(28)).ok_or(Garbage::Leap)?;
    let utc = Timestamp::<Utc>::from_ns(at.as_ns()) + Span::from_secs_f64(offset);
    let pulse = int(24) != 0;
    Ok(Reading {
        // Of a pulse only the place within the second counts: it is moved to where a second begins.
        at: if pulse { When::Host(at + to_second(utc)) } else { When::Host(at) },
        time: if pulse { RefclockTime::Pulse } else { RefclockTime::Utc(utc) },
        leap,
    })
}

fn host(seconds: i64, micros: i64) -> Option<Timestamp<Host>> {
    let micros = (0..1_000_000).contains(&micros).then_some(micros)?;
    let ns = seconds.checked_mul(1_000_000_000)?.checked_add(micros * 1_000)?;
    (ns >= 0).then_some(Timestamp::from_ns(ns))
}

/// From a time to the beginning of the nearest second.
fn to_second(utc: Timestamp<Utc>) -> Span {
    let within = utc.as_ns().rem_euclid(1_000_000_000);
    let back = Span::from_ns(-within);
    if within >= 500_000_000 { back + Span::SECOND } else { back }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Leap;

    /// A datagram as chrony's clients write it.
    fn sample(sec: i64, usec: i64, offset: f64, pulse: i32, leap: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(sec.to_ne_bytes());
        bytes.extend(usec.to_ne_bytes());
        bytes.extend(offset.to_ne_bytes());
        for int in [pulse, leap, 0, MAGIC] {
            bytes.extend(int.to_ne_bytes());
        }
        bytes
    }

    /// Proves that a datagram gives the moment and the time at it.
    #[test]
    fn datagrams_are_read() {
        let reading = decode(&sample(1_700_000_000, 250_000, -0.25, 0, 1)).unwrap();
        assert_eq!(reading.at, When::Host(Timestamp::from_ns(1_700_000_000_250_000_000)));
        let utc = Timestamp::from_ns(1_700_000_000_000_000_000);
        assert_eq!((reading.time, reading.leap), (RefclockTime::Utc(utc), Leap::Insert));
    }

    /// Proves that a pulse is moved to where its second begins.
    #[test]
    fn pulses_are_moved_to_the_second() {
        for (usec, offset, at) in [
            (250_000, -0.25, 1_700_000_000_250_000_000),
            (750_000, 0.250_001, 1_700_000_000_749_999_000),
            (10, 0.2, 1_699_999_999_800_000_000),
        ] {
            let reading = decode(&sample(1_700_000_000, usec, offset, 1, 0)).unwrap();
            assert_eq!(reading.at, When::Host(Timestamp::from_ns(at)));
            assert_eq!(reading.time, RefclockTime::Pulse);
        }
    }

    /// Proves that garbage is refused for what is wrong with it.
    #[test]
    fn garbage_is_refused() {
        let good = sample(1_700_000_000, 0, 0.0, 0, 0);
        let mut magic = good.clone();
        magic[36] ^= 1;
        for (bytes, why) in [
            (Vec::new(), Garbage::Size),
            (good[..39].to_vec(), Garbage::Size),
            ([&good[..], b"x"].concat(), Garbage::Size),
            (magic, Garbage::Magic),
            (sample(1_700_000_000, 1_000_000, 0.0, 0, 0), Garbage::Time),
            (sample(i64::MAX, 0, 0.0, 0, 0), Garbage::Time),
            (sample(-5, 0, 0.0, 0, 0), Garbage::Time),
            (sample(1_700_000_000, 0, f64::NAN, 0, 0), Garbage::Time),
            (sample(1_700_000_000, 0, 1e300, 0, 0), Garbage::Time),
            (sample(1_700_000_000, 0, 0.0, 0, 7), Garbage::Leap),
        ] {
            assert_eq!(decode(&bytes), Err(why), "{bytes:?}");
        }
    }
}
