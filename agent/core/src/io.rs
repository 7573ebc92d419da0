use alloc::vec::Vec;

use timebase::{Host, Raw, Span, StampKind, Timestamp};

use crate::{SourceId, Steer};

/// One moment on the raw clock, as the hull of what it may have been: a stamp taken on another clock
/// has to be translated, and the translation has a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Not before this.
    pub earliest: Timestamp<Raw>,
    /// Not after this.
    pub latest: Timestamp<Raw>,
    /// Where it was taken.
    pub kind: StampKind,
}

impl Stamp {
    /// A moment known exactly.
    pub const fn exact(at: Timestamp<Raw>, kind: StampKind) -> Self {
        Self { earliest: at, latest: at, kind }
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// CLOCK_MONOTONIC_RAW.
    pub raw: Timestamp<Raw>,
    /// CLOCK_REALTIME at that moment, give or take `uncertainty`.
    pub realtime: Timestamp<Host>,
    /// Half of the time the reading took.
    pub uncertainty: Span,
}

impl ClockReading {
    /// `realtime − raw`: the constant that a step changes.
    pub fn difference(&self) -> Span {
        Span::from_ns(self.realtime.as_ns().saturating_sub(self.raw.as_ns()))
    }
}

/// The right to say, once, what became of one request.
///
/// Neither `Clone` nor `Copy`: it is used up by [`crate::Engine::handle_sent`] or
/// [`crate::Engine::handle_send_failed`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the engine waits to hear what became of the request"]
pub struct SendToken(u64);

impl SendToken {
    const SERIAL_BITS: u32 = 48;

    pub(crate) fn new(source: SourceId, serial: u64) -> Self {
        Self(u64::from(source.0) << Self::SERIAL_BITS | serial & ((1 << Self::SERIAL_BITS) - 1))
    }

    pub(crate) fn source(&self) -> SourceId {
        // 64 − 48 = 16 bits are left.
        SourceId((self.0 >> Self::SERIAL_BITS) as u16)
    }

    pub(crate) fn is_serial(&self, serial: u64) -> bool {
        *self == Self::new(self.source(), serial)
    }
}

/// Something the shell has to do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Send `packet` to the address of `source`, from a port that nobody can guess.
    Send {
        /// To whom.
        source: SourceId,
        /// To be given back with the time of sending, or on failure.
        token: SendToken,
        /// The request.
        packet: Vec<u8>,
    },
    /// Establish keys with this source (RFC 8915 section 4, [`crate::nts::ke`]) and call
    /// [`crate::Engine::handle_keys`] or [`crate::Engine::handle_keys_failed`].
    ExchangeKeys {
        /// With whom.
        source: SourceId,
    },
    /// Look the name of this source up (again) and call [`crate::Engine::handle_resolved`].
    Resolve(SourceId),
    /// Tell the kernel, and call [`crate::Engine::handle_steered`] right after it. The next one comes after
    /// that only.
    Steer(Steer),
}
