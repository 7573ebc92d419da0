use timebase::Span;

use crate::Rng;

/// The way to a server and back. Delays are a fixed part plus exponential queueing.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Least delay host → server.
    pub out: Span,
    /// Least delay server → host.
    pub back: Span,
    /// Mean queueing delay, each way.
    pub queueing: Span,
    /// Share of exchanges that lose a packet, 0 to 1.
    pub loss: f64,
}

impl Path {
    /// A symmetric path with a round trip of `rtt` and some queueing.
    pub fn symmetric(rtt: Span, queueing: Span) -> Self {
        Self { out: rtt.half(), back: rtt.half(), queueing, loss: 0.0 }
    }

    /// The delays of one exchange, out and back; `None` if a packet is lost.
    pub fn exchange(&self, rng: &mut Rng) -> Option<(Span, Span)> {
        if rng.unit() < self.loss {
            return None;
        }
        let mut queue = || Span::from_secs_f64(rng.exponential(self.queueing.as_secs_f64()));
        Some((self.out + queue(), self.back + queue()))
    }
}
