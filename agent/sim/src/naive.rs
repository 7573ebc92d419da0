use timebase::{Bounds, Raw, Span, Timestamp};

/// What a simple client makes of its last answer: the offset of RFC 5905, plus or minus the root
/// distance, grown by the drift that it takes for granted.
///
/// It stands in scenarios for the host without the defence. It believes one source, and no bound of an
/// earlier exchange helps or contradicts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naive {
    at: Timestamp<Raw>,
    /// raw − UTC
    offset: Span,
    distance: Span,
}

impl Naive {
    /// From one exchange in the basic mode: when the request was sent and the answer received.
    pub(crate) fn new(t1: Timestamp<Raw>, packet: &[u8], t4: Timestamp<Raw>) -> Option<Self> {
        let field = |at: usize| packet.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        let short = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let (t2, t3) = (unix_ns(field(32)?), unix_ns(field(40)?));
        let (root_delay, root_dispersion) = (seconds(short(4)?), seconds(short(8)?));
        let out = i128::from(t1.as_ns()) - t2;
        let back = i128::from(t4.as_ns()) - t3;
        let delay = Span::from_ns((t4 - t1).as_ns() - (t3 - t2) as i64);
        Some(Self {
            at: t4,
            offset: Span::from_ns(((out + back) / 2) as i64),
            distance: (delay + root_delay).half() + root_dispersion,
        })
    }

    /// What it takes for certain about `raw − UTC` at `now`.
    pub(crate) fn window(&self, now: Timestamp<Raw>, drift_ppm: f64) -> Bounds {
        let aged = (now - self.at).as_secs_f64() * drift_ppm * 1e-6;
        Bounds::around(self.offset, self.distance + Span::from_secs_f64(aged))
    }
}

fn unix_ns(stamp: u64) -> i128 {
    let ns = (i128::from(stamp) * 1_000_000_000) >> 32;
    ns - 2_208_988_800 * 1_000_000_000
}

fn seconds(short: u32) -> Span {
    Span::from_ns(((i64::from(short)) * 1_000_000_000) >> 16)
}
