use fleet_proto::pb;
use timebase::{Bounds, Exchange, Host, Ppb, Span, Timestamp, Utc, WitnessStamps};

/// The most that the kernel slews a clock (adjtimex): more than any crystal is off.
const SLEW_LIMIT: Ppb = Ppb::from_ppm(500);

/// What the stamps of an earlier batch and its answer prove about host clock − collector clock; `None`
/// if they contradict causality or are not past.
pub(super) fn bounds(wire: pb::Witness, now: Timestamp<Utc>) -> Option<Bounds> {
    let WitnessStamps { t1, t2, t3, t4 } = WitnessStamps::from(wire);
    if t3 < t2 || t3 > now {
        return None;
    }
    // The collector is the reference here, so its own distance from UTC is none of it.
    Exchange::<Host> { t1, t2, t3, t4, root_distance: Span::ZERO }.bounds(SLEW_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(t1: i64, t2: i64, t3: i64, t4: i64) -> pb::Witness {
        pb::Witness { t1_realtime_ns: t1, t2_ns: t2, t3_ns: t3, t4_realtime_ns: t4 }
    }

    /// Proves that the true error lies inside, and that stamps which cannot be are no proof.
    #[test]
    fn bounds_contain_the_error_or_are_none() {
        let now = Timestamp::from_ns(10_000);
        // Host 1000 ns ahead; 100 ns there, 50 ns in the collector, 200 ns back.
        let found = bounds(stamps(2_000, 1_100, 1_150, 2_350), now).unwrap();
        assert!(found.contains(Span::from_ns(1_000)) && found.width() <= Span::from_ns(302));
        assert_eq!(bounds(stamps(2_000, 1_100, 900, 2_350), now), None, "answered before asked");
        assert_eq!(bounds(stamps(2_000, 1_100, 20_000, 2_350), now), None, "not past");
        assert_eq!(bounds(stamps(5_000, 1_100, 1_150, 2_350), now), None, "received before sent");
    }
}
