use core::fmt;

use timebase::Leap;

use super::Packet;

/// A kiss code: why a server does not want to answer (RFC 5905 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kiss {
    /// DENY: access denied. The client must stop.
    Deny,
    /// RSTR: access restricted. The client must stop.
    Restrict,
    /// RATE: asked too often. The client must slow down.
    Rate,
    /// NTSN: the server cannot open the cookie (RFC 8915 section 5.7). The client must get new keys.
    NtsNak,
    /// Any other code, as sent. Not acted upon.
    Other(u32),
}

impl Kiss {
    /// The kiss that an authentic answer is, if it is one. Servers that have no time yet answer with
    /// stratum 0 as well, and some word such as INIT: where the leap indicator says so and the word asks
    /// for nothing, that is all it means.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        let kiss = Self::from_reference_id(packet.reference_id);
        let only_without_time =
            matches!(kiss, Self::Other(_)) && packet.leap == Leap::Unsynchronised;
        (packet.stratum == 0 && !only_without_time).then_some(kiss)
    }

    /// The kiss in the reference id field of a stratum 0 packet.
    pub fn from_reference_id(id: u32) -> Self {
        match &id.to_be_bytes() {
            b"DENY" => Self::Deny,
            b"RSTR" => Self::Restrict,
            b"RATE" => Self::Rate,
            b"NTSN" => Self::NtsNak,
            _ => Self::Other(id),
        }
    }
}

impl fmt::Display for Kiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deny => f.write_str("DENY"),
            Self::Restrict => f.write_str("RSTR"),
            Self::Rate => f.write_str("RATE"),
            Self::NtsNak => f.write_str("NTSN"),
            Self::Other(id) => f.write_str(&timebase::reference_id_text(0, *id)),
        }
    }
}
