//! Between [`pb`](crate::pb) and [`timebase`].

mod enums;
mod event;
mod report;
mod source;

use thiserror::Error;
use timebase::{Bounds, SmearState};

use crate::pb;

/// Why a message cannot be what it claims to be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// A required field is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field holds a value outside its range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// An enumeration or word that this version does not know.
    #[error("{0} is unknown to this version")]
    UnknownWord(&'static str),
    /// `lo` above `hi`: the interval is empty.
    #[error("{0} is an empty interval")]
    EmptyInterval(&'static str),
    /// Octets that are no message of their kind.
    #[error("a {0} is garbled")]
    Garbled(&'static str),
    /// A text longer than its limit.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// More elements than the limit.
    #[error("more than {1} {0}")]
    TooMany(&'static str, usize),
}

/// Most sources in one report: four pools of sixteen.
pub const MAX_SOURCES: usize = 64;
/// Most events in one report; an agent that has more says so in a `ReportsDropped`.
pub const MAX_EVENTS: usize = 256;
/// Longest name of a source, host, service or label: a DNS name with port.
pub const MAX_NAME: usize = 260;
/// Most labels of a host.
pub const MAX_LABELS: usize = 32;

/// Sixteen bytes of an id.
pub fn id16(bytes: &[u8], field: &'static str) -> Result<[u8; 16], Refusal> {
    bytes.try_into().map_err(|_| Refusal::Range(field))
}

/// A text no longer than [`MAX_NAME`], without control characters.
pub fn name(text: String, field: &'static str) -> Result<String, Refusal> {
    if text.len() > MAX_NAME {
        Err(Refusal::TooLong(field, MAX_NAME))
    } else if text.chars().any(char::is_control) {
        Err(Refusal::Range(field))
    } else {
        Ok(text)
    }
}

impl From<Bounds> for pb::Bounds {
    fn from(bounds: Bounds) -> Self {
        Self { lo_ns: bounds.lo().as_ns(), hi_ns: bounds.hi().as_ns() }
    }
}

/// No window reaches further: 73 years, so that a clock that begins at 1970 fits and the difference of any
/// two ends does, too.
const FARTHEST_NS: u64 = 1 << 61;

fn bounds(wire: pb::Bounds, field: &'static str) -> Result<Bounds, Refusal> {
    if wire.lo_ns.unsigned_abs().max(wire.hi_ns.unsigned_abs()) > FARTHEST_NS {
        return Err(Refusal::Range(field));
    }
    Bounds::new(timebase::Span::from_ns(wire.lo_ns), timebase::Span::from_ns(wire.hi_ns))
        .ok_or(Refusal::EmptyInterval(field))
}

/// An agent from before smears were told apart says nothing.
fn smear(word: &str) -> Result<SmearState, Refusal> {
    if word.is_empty() {
        return Ok(SmearState::None);
    }
    SmearState::from_word(word).ok_or(Refusal::UnknownWord("smear"))
}
