use timebase::{Leap, Span};

use crate::Refused;

/// Octets of an NTP header, and of a plain request. Extension fields and a MAC may follow it.
pub const PACKET_LEN: usize = 48;

/// NTP version spoken.
const VERSION: u8 = 4;

/// The association modes that matter to a client (RFC 5905 figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A client's request.
    Client,
    /// A server's answer.
    Server,
    /// Anything else: symmetric, broadcast, control.
    Other(u8),
}

impl Mode {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            3 => Self::Client,
            4 => Self::Server,
            other => Self::Other(other),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Client => 3,
            Self::Server => 4,
            Self::Other(bits) => bits & 7,
        }
    }
}

/// An NTPv4 header (RFC 5905 figure 8), fields as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Leap indicator.
    pub leap: Leap,
    /// Who speaks.
    pub mode: Mode,
    /// Stratum; 0 is a kiss, 16 and more is not synchronised.
    pub stratum: u8,
    /// Poll interval, log2 seconds.
    pub poll: i8,
    /// Precision of the server's clock, log2 seconds.
    pub precision: i8,
    /// Delay to the reference, 16.16 seconds.
    pub root_delay: u32,
    /// Claimed error against the reference, 16.16 seconds.
    pub root_dispersion: u32,
    /// Reference id, or kiss code.
    pub reference_id: u32,
    /// When the server's clock was last set, NTP stamp.
    pub reference: u64,
    /// The client's transmit field, given back; in an interleaved answer, its receive field.
    pub origin: u64,
    /// T2.
    pub receive: u64,
    /// T3, in an interleaved answer that of the answer before; in a request, the nonce.
    pub transmit: u64,
}

impl Packet {
    /// A request that tells nothing about this host: the transmit field is a nonce, not its clock.
    pub const fn request(nonce: u64) -> Self {
        Self {
            leap: Leap::None,
            mode: Mode::Client,
            stratum: 0,
            poll: 0,
            precision: 0,
            root_delay: 0,
            root_dispersion: 0,
            reference_id: 0,
            reference: 0,
            origin: 0,
            receive: 0,
            transmit: nonce,
        }
    }

    /// Reads a header; what follows the first 48 octets is not looked at.
    ///
    /// # Errors
    /// [`Refused::TooShort`], or [`Refused::Version`] for anything but version 4.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        let bytes: &[u8; PACKET_LEN] = bytes.first_chunk().ok_or(Refused::TooShort)?;
        let word = |at: usize| {
            bytes[at..at + 4].iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte))
        };
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if bytes[0] >> 3 & 7 != VERSION {
            return Err(Refused::Version);
        }
        Ok(Self {
            leap: leap_from_bits(bytes[0] >> 6),
            mode: Mode::from_bits(bytes[0] & 7),
            stratum: bytes[1],
            poll: bytes[2].cast_signed(),
            precision: bytes[3].cast_signed(),
            root_delay: word(4),
            root_dispersion: word(8),
            reference_id: word(12),
            reference: long(16),
            origin: long(24),
            receive: long(32),
            transmit: long(40),
        })
    }

    /// The header as sent.
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        bytes[0] = leap_bits(self.leap) << 6 | VERSION << 3 | self.mode.bits();
        bytes[1] = self.stratum;
        bytes[2] = self.poll.cast_unsigned();
        bytes[3] = self.precision.cast_unsigned();
        bytes[4..8].copy_from_slice(&self.root_delay.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.root_dispersion.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.reference_id.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.reference.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.origin.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.receive.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.transmit.to_be_bytes());
        bytes
    }

    /// Delay to the reference, rounded up.
    pub fn root_delay(&self) -> Span {
        from_short(self.root_delay)
    }

    /// Claimed error against the reference, rounded up.
    pub fn root_dispersion(&self) -> Span {
        from_short(self.root_dispersion)
    }

    /// Λ: the farthest from UTC that the server says it may be at T3: half the root delay, the root
    /// dispersion, and its precision, within which it may round or blur its stamps.
    pub fn root_distance(&self) -> Span {
        self.root_delay().half() + self.root_dispersion() + precision(self.precision)
    }
}

/// `span` in NTP's 16.16 short format, rounded up; saturates at 18 h, and negative becomes zero.
pub fn short_format(span: Span) -> u32 {
    let ns = span.as_ns().max(0).unsigned_abs();
    let units = (u128::from(ns) << 16).div_ceil(1_000_000_000);
    u32::try_from(units).unwrap_or(u32::MAX)
}

fn from_short(units: u32) -> Span {
    let ns = (u64::from(units) * 1_000_000_000).div_ceil(1 << 16);
    // At most 65536 s.
    Span::from_ns(ns as i64)
}

/// 2^`log2` seconds, rounded up, never below the nanosecond that reading a stamp rounds away.
fn precision(log2: i8) -> Span {
    if log2 >= 0 {
        return Span::from_secs(1 << log2.min(32));
    }
    let shift = u32::from(log2.unsigned_abs()).min(40);
    Span::from_ns(1_000_000_000_i64 >> shift) + Span::NANOSECOND
}

const fn leap_from_bits(bits: u8) -> Leap {
    match bits {
        0 => Leap::None,
        1 => Leap::Insert,
        2 => Leap::Delete,
        _ => Leap::Unsynchronised,
    }
}

const fn leap_bits(leap: Leap) -> u8 {
    match leap {
        Leap::None => 0,
        Leap::Insert => 1,
        Leap::Delete => 2,
        Leap::Unsynchronised => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_bare_client_header_with_a_nonce() {
        let bytes = Packet::request(0x0102_0304_0506_0708).encode();
        assert_eq!(bytes[0], 0x23);
        assert!(bytes[1..40].iter().all(|b| *b == 0));
        assert_eq!(bytes[40..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn headers_round_trip_and_other_versions_are_refused() {
        let mut packet = Packet::request(7);
        packet.leap = Leap::Insert;
        packet.precision = -25;
        packet.root_delay = 0x0001_8000;
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        assert_eq!(packet.root_delay(), Span::from_millis(1_500));
        let mut bytes = packet.encode();
        bytes[0] = 0x1b;
        assert_eq!(Packet::decode(&bytes), Err(Refused::Version));
        assert_eq!(Packet::decode(&bytes[..47]), Err(Refused::TooShort));
    }

    #[test]
    fn claims_are_rounded_against_the_server() {
        for ns in [0, 1, 15_258, 15_259, 1_000_000_007] {
            let span = Span::from_ns(ns);
            assert!(from_short(short_format(span)) >= span, "{ns}");
        }
        assert_eq!(precision(0), Span::SECOND);
        assert_eq!(precision(-128), Span::NANOSECOND);
        assert!(precision(127) > Span::from_secs(1 << 30));
    }
}
