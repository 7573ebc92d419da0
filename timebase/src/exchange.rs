use crate::{Bounds, Ppb, Scale, Span, Timestamp, Utc};

/// One two-way exchange with a time server: NTP, PTP end-to-end, SPTP, or stamps carried inside a
/// gRPC message. `L` is the scale of the local clock that stamped the two ends.
///
/// The local stamps are taken outwards: `t1` not after the request left, `t4` not before the reply
/// arrived. Then [`Exchange::bounds`] follows from causality alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange<L: Scale> {
    /// Local clock when the request left.
    pub t1: Timestamp<L>,
    /// Server clock when the request arrived.
    pub t2: Timestamp<Utc>,
    /// Server clock when the reply left.
    pub t3: Timestamp<Utc>,
    /// Local clock when the reply arrived.
    pub t4: Timestamp<L>,
    /// Λ: how far from UTC the server says it may be (NTP: root delay / 2 + root dispersion).
    pub root_distance: Span,
}

impl<L: Scale> Exchange<L> {
    /// What is certain about `local clock − UTC` at `t4`, if the server keeps within its own claim and
    /// the local oscillator within `drift`; `None` if the stamps contradict causality.
    ///
    /// ```text
    /// lo = T1 − T2 − Λ − ρ·(T4−T1)        hi = T4 − T3 + Λ + ρ·(T4−T1)
    /// ```
    pub fn bounds(&self, drift: Ppb) -> Option<Bounds> {
        let slack = self.root_distance.abs() + drift.over(self.round_trip());
        let lo = difference(self.t1, self.t2) - slack;
        let hi = difference(self.t4, self.t3) + slack;
        Bounds::new(lo, hi)
    }

    /// Time between sending and receiving on the local clock.
    pub fn round_trip(&self) -> Span {
        self.t4 - self.t1
    }

    /// Time on the network, both ways: the round trip less what the server kept.
    pub fn delay(&self) -> Span {
        self.round_trip() - (self.t3 - self.t2)
    }

    /// The estimate of `local clock − UTC` that assumes equal delays both ways (RFC 5905 −θ).
    pub fn offset(&self) -> Span {
        Bounds::between(difference(self.t1, self.t2), difference(self.t4, self.t3)).midpoint()
    }
}

/// Local reading less server reading: the one place where two scales meet, because both ends of the
/// difference are readings of the same instant up to the packet's flight.
fn difference<L: Scale>(local: Timestamp<L>, utc: Timestamp<Utc>) -> Span {
    Span::from_ns(local.as_ns().saturating_sub(utc.as_ns()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Host;

    fn exchange(t1: i64, t2: i64, t3: i64, t4: i64) -> Exchange<Host> {
        Exchange {
            t1: Timestamp::from_ns(t1),
            t2: Timestamp::from_ns(t2),
            t3: Timestamp::from_ns(t3),
            t4: Timestamp::from_ns(t4),
            root_distance: Span::ZERO,
        }
    }

    #[test]
    fn bounds_contain_the_truth_however_the_delay_is_split() {
        let error = 700;
        for (out, back) in [(0, 100), (50, 50), (100, 0), (1, 2_000)] {
            // True time 0 at sending; the local clock is `error` ahead, the server is right.
            let x = exchange(error, out, out + 10, out + 10 + back + error);
            let bounds = x.bounds(Ppb::new(0)).unwrap();
            assert!(bounds.contains(Span::from_ns(error)), "{out} {back}: {bounds}");
            assert_eq!(bounds.width(), Span::from_ns(out + back));
            assert_eq!(x.delay(), Span::from_ns(out + back));
        }
    }

    #[test]
    fn stamps_against_causality_give_no_bounds() {
        // The server says it kept the packet longer than the whole exchange took.
        assert_eq!(exchange(0, 0, 1_000, 10).bounds(Ppb::new(0)), None);
    }

    #[test]
    fn absurd_stamps_saturate() {
        let x = exchange(i64::MIN, i64::MAX, i64::MIN, i64::MAX);
        let _ = (x.bounds(Ppb::new(i64::MAX)), x.delay(), x.offset());
    }
}
