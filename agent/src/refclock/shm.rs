//! ntpd's SHM: a memory segment into which gpsd and others write samples.

use agent_core::RefclockTime;
use timebase::{Host, Timestamp, Utc};

use super::{Garbage, Reading, When, leap, long, word};
use crate::sys::shm::SEGMENT_BYTES;

/// One sample, as taken from the segment: `struct shmTime` where `time_t` is 64 bits wide.
pub(super) fn decode(bytes: &[u8; SEGMENT_BYTES]) -> Result<Reading, Garbage> {
    let int = |at: usize| i32::from_ne_bytes(word(bytes, at));
    let time = |seconds: usize, micros: usize, nanos: usize| {
        let seconds = i64::from_ne_bytes(long(bytes, seconds));
        let (micros, nanos) = (i64::from(int(micros)), i64::from(int(nanos)));
        // Old writers leave the nanoseconds alone.
        let nanos = if nanos / 1_000 == micros { nanos } else { micros.checked_mul(1_000)? };
        let nanos = (0..1_000_000_000).contains(&nanos).then_some(nanos)?;
        let ns = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
        (ns >= 0).then_some(ns)
    };
    if !matches!(int(0), 0 | 1) {
        return Err(Garbage::Mode);
    }
    let clock = time(8, 16, 52).ok_or(Garbage::Time)?;
    let received = time(24, 32, 56).ok_or(Garbage::Time)?;
    let leap = leap(int(36)).ok_or(Garbage::Leap)?;
    Ok(Reading {
        at: When::Host(Timestamp::<Host>::from_ns(received)),
        time: RefclockTime::Utc(Timestamp::<Utc>::from_ns(clock)),
        leap,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Leap;

    fn segment(
        mode: i32,
        clock: (i64, i32, i32),
        received: (i64, i32, i32),
        leap: i32,
    ) -> [u8; SEGMENT_BYTES] {
        let mut bytes = [0; SEGMENT_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &mode.to_ne_bytes());
        put(8, &clock.0.to_ne_bytes());
        put(16, &clock.1.to_ne_bytes());
        put(24, &received.0.to_ne_bytes());
        put(32, &received.1.to_ne_bytes());
        put(36, &leap.to_ne_bytes());
        put(52, &clock.2.to_ne_bytes());
        put(56, &received.2.to_ne_bytes());
        bytes
    }

    /// Proves that both times are read, to the nanosecond where the writer gives them.
    #[test]
    fn segments_are_read() {
        let bytes = segment(1, (1_700_000_000, 5, 5_678), (1_700_000_001, 123_456, 0), 2);
        let reading = decode(&bytes).unwrap();
        assert_eq!(reading.at, When::Host(Timestamp::from_ns(1_700_000_001_123_456_000)));
        let utc = Timestamp::from_ns(1_700_000_000_000_005_678);
        assert_eq!((reading.time, reading.leap), (RefclockTime::Utc(utc), Leap::Delete));
    }

    /// Proves that garbage is refused for what is wrong with it.
    #[test]
    fn garbage_is_refused() {
        let good = (1_700_000_000, 0, 0);
        for (bytes, why) in [
            (segment(2, good, good, 0), Garbage::Mode),
            (segment(0, (1, 1_000_000, 0), good, 0), Garbage::Time),
            (segment(0, (i64::MIN, 0, 0), good, 0), Garbage::Time),
            (segment(0, good, (i64::MAX, 0, 0), 0), Garbage::Time),
            (segment(0, good, (1, -1, 0), 0), Garbage::Time),
            (segment(0, good, good, -1), Garbage::Leap),
        ] {
            assert_eq!(decode(&bytes), Err(why));
        }
    }
}
