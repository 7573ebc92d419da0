use timebase::{Exchange, Raw, Span};

use super::{Answer, Answers, to_utc};
use crate::Refused;

/// Interleaved requests in a row without an answer, after which the next is a basic one.
const MISSES: u8 = 2;
/// So many times without one interleaved answer: the server does not care for such requests.
const FAILURES: u8 = 4;

/// Interleaved mode (RFC 9769 section 2): each answer tells when the one before really left.
///
/// Every request offers it; a server that does not know it answers in basic mode, and that is all. A
/// request names the last answer taken by that answer's receive field (T2), so that loss, duplicates and
/// reordering cannot pair an exact T3 with the wrong exchange. A server that has forgotten it (a
/// restart) answers in basic mode.
#[derive(Clone, Debug)]
pub(super) struct Interleaving {
    wanted: bool,
    last: Option<Last>,
    /// The least time that the server kept a request, where it is known.
    least_hold: Option<Span>,
    misses: u8,
    failures: u8,
}

/// The last answer taken.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// T2 as it was on the wire.
    receive: u64,
    answer: Answer,
}

impl Interleaving {
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, last: None, least_hold: None, misses: 0, failures: 0 }
    }

    /// The origin field of an interleaved request; `None`: ask in basic mode.
    pub(super) fn origin(&self) -> Option<u64> {
        let offered = self.wanted && self.failures < FAILURES;
        self.last.filter(|_| offered).map(|last| last.receive)
    }

    /// Nothing that was said before may be paired with what comes.
    pub(super) fn forget(&mut self) {
        (self.last, self.least_hold, self.misses) = (None, None, 0);
    }

    /// An interleaved request got no answer.
    pub(super) fn missed(&mut self) {
        self.misses += 1;
        if self.misses >= MISSES {
            self.forget();
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// An answer was taken, in whichever mode; the next request will name it.
    pub(super) fn answered(&mut self, receive: u64, answers: &Answers, interleaved: bool) {
        if interleaved {
            self.least_hold = self.hold(&answers.precise);
        }
        self.last = Some(Last { receive, answer: answers.fresh });
        self.misses = 0;
        if interleaved {
            self.failures = 0;
        }
    }

    /// The last exchange with the exact T3 that an interleaved answer gives in its transmit field.
    pub(super) fn precise(&self, transmit: u64) -> Option<Result<Answer, Refused>> {
        let Last { answer, .. } = self.last?;
        let t3 = to_utc(transmit);
        if t3 < answer.exchange.t2 {
            return Some(Err(Refused::Backwards));
        }
        let exchange = Exchange::<Raw> { t3, ..answer.exchange };
        Some(Ok(Answer { exchange, held: Span::ZERO, ..answer }))
    }

    /// How long the server likely keeps a request, with what it kept the last one: the least of all, lest
    /// an estimate be drawn to the other side by one that was kept long.
    pub(super) fn hold(&self, precise: &Option<Result<Answer, Refused>>) -> Option<Span> {
        let kept =
            precise.and_then(Result::ok).map(|answer| answer.exchange.t3 - answer.exchange.t2);
        [kept, self.least_hold].into_iter().flatten().min()
    }
}
