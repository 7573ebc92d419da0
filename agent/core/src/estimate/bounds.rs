use timebase::{Bounds, RateBounds, Raw, Timestamp};

/// Bounds of `raw − UTC` that held at one moment and widen with the time since.
///
/// A server's claim is about UTC at the moment it answered. Whatever the server does later cannot make
/// that claim untrue: only what our own oscillator gains or loses widens it. So old exchanges keep their
/// say.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunningBounds {
    bounds: Bounds,
    at: Timestamp<Raw>,
}

impl RunningBounds {
    pub(super) fn new(bounds: Bounds, at: Timestamp<Raw>) -> Self {
        Self { bounds, at }
    }

    pub(super) fn at(&self, now: Timestamp<Raw>, rates: RateBounds) -> Bounds {
        let elapsed = now - self.at;
        if elapsed.is_negative() {
            self.bounds - rates.over(-elapsed)
        } else {
            self.bounds + rates.over(elapsed)
        }
    }

    /// The same as of a later moment.
    pub(super) fn moved_on(&self, now: Timestamp<Raw>, rates: RateBounds) -> Self {
        if now <= self.at { *self } else { Self::new(self.at(now, rates), now) }
    }

    /// With one more exchange, or `None` if it cannot be true together with those before.
    pub(super) fn narrowed(
        &self,
        fresh: Bounds,
        at: Timestamp<Raw>,
        rates: RateBounds,
    ) -> Option<Self> {
        let at_both = self.at.max(at);
        let old = self.at(at_both, rates);
        let new = Self::new(fresh, at).at(at_both, rates);
        old.intersect(new).map(|bounds| Self { bounds, at: at_both })
    }
}
