use timebase::{Leap, Timestamp, Utc};

const DAY_NS: i64 = 86_400_000_000_000;

/// The leap second that the kernel is to carry out at the end of this UTC day. Servers may warn a month
/// ahead, but the kernel acts on the next midnight, so it is told on the last day of the month only.
pub(super) fn due(now: Timestamp<Utc>, warned: Leap) -> Leap {
    match warned {
        Leap::Insert | Leap::Delete if ends_a_month(now.as_ns().div_euclid(DAY_NS)) => warned,
        _ => Leap::None,
    }
}

/// Whether the day, counted from 1970-01-01, is the last of its month.
fn ends_a_month(day: i64) -> bool {
    day_of_month(day.saturating_add(1)) == 1
}

/// The Gregorian calendar repeats every 146097 days; years are taken to begin in March, which puts the
/// leap day last and makes months of 153 days in five regular.
fn day_of_month(day: i64) -> i64 {
    let from_march_0000 = day.saturating_add(719_468);
    let of_era = from_march_0000.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp<Utc> {
        Timestamp::from_ns(seconds * 1_000_000_000)
    }

    /// Proves that a warning reaches the kernel on the last day of a month and on no other.
    #[test]
    fn the_kernel_is_told_on_the_last_day() {
        for (seconds, due_then) in [
            (1_483_142_400, true),  // 2016-12-31T00:00:00
            (1_483_228_799, true),  // 2016-12-31T23:59:59
            (1_483_142_399, false), // 2016-12-30T23:59:59
            (1_483_228_800, false), // 2017-01-01T00:00:00
            (1_709_164_800, true),  // 2024-02-29
            (1_709_078_400, false), // 2024-02-28
            (1_677_542_400, true),  // 2023-02-28
            (4_107_456_000, true),  // 2100-02-28
        ] {
            let expected = if due_then { Leap::Insert } else { Leap::None };
            assert_eq!(due(at(seconds), Leap::Insert), expected, "{seconds}");
        }
        assert_eq!(due(at(1_483_142_400), Leap::None), Leap::None);
        assert_eq!(due(at(1_483_142_400), Leap::Unsynchronised), Leap::None);
    }
}
