//! PTP hardware clocks, which show TAI if a PTP daemon keeps them, and are never touched here.

use agent_core::{RefclockTime, Stamp};
use timebase::{Leap, LeapTable, Raw, StampKind, Timestamp, Utc};

use super::{Garbage, When};
use crate::sys::phc::{Against, Reading};

/// The tightest of a few readings, as UTC and when it was; `None` if there is none.
///
/// `tai_offset` is what the clock shows less UTC, by configuration; without it, by the table.
pub(super) fn best(
    against: Against,
    readings: &[Reading],
    tai_offset: Option<i32>,
    table: Option<&LeapTable>,
) -> Option<Result<super::Reading, Garbage>> {
    let ordered = readings.iter().filter(|reading| reading.before <= reading.after);
    let best = ordered.min_by_key(|reading| reading.after - reading.before)?;
    let Some(utc) = utc(best.device, tai_offset, table) else {
        return Some(Err(Garbage::TaiOffset));
    };
    let at = match against {
        Against::Raw => {
            let (earliest, latest) =
                (Timestamp::<Raw>::from_ns(best.before), Timestamp::from_ns(best.after));
            When::Raw(Stamp { earliest, latest, kind: StampKind::Hardware })
        }
        Against::Realtime => {
            When::Between(Timestamp::from_ns(best.before), Timestamp::from_ns(best.after))
        }
    };
    Some(Ok(super::Reading { at, time: RefclockTime::Utc(utc), leap: Leap::None }))
}

/// `None` if TAI cannot be told from UTC.
fn utc(device: i64, tai_offset: Option<i32>, table: Option<&LeapTable>) -> Option<Timestamp<Utc>> {
    match tai_offset {
        Some(seconds) => {
            let ns = device.checked_sub(i64::from(seconds).checked_mul(1_000_000_000)?)?;
            Some(Timestamp::from_ns(ns))
        }
        None => table?.utc_at_tai(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "Leap 2015 Jun 30 23:59:60 + S\nLeap 2016 Dec 31 23:59:60 + S\n#expires 1800000000\n";
    const NOW: i64 = 1_700_000_000_000_000_000;

    /// Proves that the tightest reading counts, and that TAI becomes UTC by configuration or table.
    #[test]
    fn the_tightest_reading_counts() {
        let reading = |before, device, after| Reading { before, device, after };
        let readings = [
            reading(1_000, NOW, 3_000),
            reading(4_000, NOW + 3_000, 4_500),
            reading(9_000, NOW + 9_000, 2_000),
        ];
        let table = LeapTable::parse(TABLE).unwrap();
        let by_table = best(Against::Raw, &readings, None, Some(&table)).unwrap().unwrap();
        let utc = |offset: i64| {
            RefclockTime::Utc(Timestamp::from_ns(NOW + 3_000 - offset * 1_000_000_000))
        };
        assert_eq!(by_table.time, utc(12));
        let When::Raw(stamp) = by_table.at else { panic!("{by_table:?}") };
        assert_eq!((stamp.earliest.as_ns(), stamp.latest.as_ns()), (4_000, 4_500));
        let configured = best(Against::Realtime, &readings, Some(0), None).unwrap().unwrap();
        assert_eq!(configured.time, utc(0));
        assert_eq!(
            configured.at,
            When::Between(Timestamp::from_ns(4_000), Timestamp::from_ns(4_500))
        );
        let nothing_tells = Some(Err(Garbage::TaiOffset));
        assert_eq!(best(Against::Raw, &readings, None, None), nothing_tells);
        assert_eq!(best(Against::Raw, &[], Some(0), None), None);
        let expired = reading(0, 1_900_000_000_000_000_000, 0);
        assert_eq!(best(Against::Raw, &[expired], None, Some(&table)), nothing_tells);
    }
}
