//! Pulses per second from `/dev/ppsN`, stamped by the kernel.

use agent_core::RefclockTime;
use timebase::Leap;

use super::{Edge, Reading, When};
use crate::sys::pps::Pulses;

/// Gives each pulse once.
#[derive(Debug)]
pub(super) struct Counter {
    edge: Edge,
    seen: Option<u32>,
}

impl Counter {
    pub(super) fn new(edge: Edge) -> Self {
        Self { edge, seen: None }
    }

    /// The pulse, if it is a new one. The first one found is not: nobody knows how old it is.
    pub(super) fn take(&mut self, pulses: &Pulses) -> Option<Reading> {
        let (number, at) = match self.edge {
            Edge::Assert => pulses.assert,
            Edge::Clear => pulses.clear,
        };
        let before = self.seen.replace(number)?;
        let (at, time, leap) = (When::Kernel(at), RefclockTime::Pulse, Leap::None);
        (number != before).then_some(Reading { at, time, leap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Timestamp;

    /// Proves that each pulse of the configured edge is given once, and the first never.
    #[test]
    fn each_pulse_is_given_once() {
        let pulses = |assert, clear| Pulses {
            assert: (assert, Timestamp::from_ns(i64::from(assert) * 1_000)),
            clear: (clear, Timestamp::from_ns(7)),
        };
        let mut counter = Counter::new(Edge::Assert);
        assert_eq!(counter.take(&pulses(4, 4)), None);
        assert_eq!(counter.take(&pulses(4, 5)), None);
        let reading = counter.take(&pulses(5, 5)).unwrap();
        assert_eq!(reading.at, When::Kernel(Timestamp::from_ns(5_000)));
        assert_eq!(counter.take(&pulses(5, 6)), None);
        let mut counter = Counter::new(Edge::Clear);
        assert_eq!(counter.take(&pulses(0, 1)), None);
        assert!(counter.take(&pulses(0, 2)).is_some());
    }
}
