use timebase::{Timestamp, Utc};

/// Seconds from 1900-01-01 (NTP's epoch) to 1970-01-01.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;
/// 2020-01-01 in seconds of NTP era 0. Smaller numbers belong to era 1.
const PIVOT_S: i64 = 3_786_825_600;
const ERA_S: i64 = 1 << 32;

/// The instant that a 64-bit NTP stamp means, rounded down to a nanosecond.
///
/// 32 bits of seconds repeat every 136 years (RFC 5905 section 6). Every stamp is read as one between
/// 2020-01-01 and 2156-02-07: no server that is of any use is older than this software.
pub fn to_utc(ntp: u64) -> Timestamp<Utc> {
    let seconds = (ntp >> 32) as i64;
    let fraction = ntp & 0xffff_ffff;
    let era = if seconds < PIVOT_S { ERA_S } else { 0 };
    let ns = (fraction * 1_000_000_000) >> 32;
    Timestamp::from_ns((seconds + era - NTP_TO_UNIX_S) * 1_000_000_000 + ns as i64)
}

/// The NTP stamp of an instant, the least that [`to_utc`] turns back into it.
pub fn from_utc(utc: Timestamp<Utc>) -> u64 {
    let seconds = utc.as_ns().div_euclid(1_000_000_000) + NTP_TO_UNIX_S;
    let ns = utc.as_ns().rem_euclid(1_000_000_000) as u64;
    // Only the low 32 bits of the seconds go on the wire; the era is lost, as the format has it.
    (seconds as u64) << 32 | (ns << 32).div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_both_eras_round_trip() {
        // 2020, the last second of era 0 (2036-02-07T06:28:15Z), the first of era 1, 2155.
        for s in [1_577_836_800, 2_085_978_495, 2_085_978_496, 5_838_000_000_i64] {
            for ns in [0, 1, 499_999_999, 999_999_999] {
                let utc = Timestamp::from_ns(s * 1_000_000_000 + ns);
                assert_eq!(to_utc(from_utc(utc)), utc);
            }
        }
    }

    #[test]
    fn the_year_2036_does_not_jump() {
        let before = to_utc(0xffff_ffff_ffff_ffff);
        let after = to_utc(0);
        assert!((after - before).as_ns() <= 1, "{:?}", after - before);
    }
}
