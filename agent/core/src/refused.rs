use core::fmt;

use crate::ntp::Kiss;

/// Why a datagram was not taken as a measurement. Counted per source; never fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No such source.
    UnknownSource,
    /// Shorter than the 48 octets of an NTP header.
    TooShort,
    /// Not NTP version 4.
    Version,
    /// Not a server's answer (mode 4).
    Mode,
    /// Nobody asked, or the one answer to the request has already come.
    Unexpected,
    /// The origin field is not the nonce of the request: forged, or an answer to something else.
    Origin,
    /// What follows the header is neither extension fields nor a MAC (RFC 7822).
    Extension,
    /// Its MAC or seal is missing or wrong.
    Authentication,
    /// It is authenticated with another key than the one configured.
    KeyId,
    /// A crypto-NAK: the server does not know the key, or could not verify the request with it.
    CryptoNak,
    /// Its unique identifier (RFC 8915 section 5.3) is not that of the request.
    UniqueId,
    /// A kiss-o'-death (RFC 5905 section 7.4).
    Kiss(Kiss),
    /// The server says that it is not synchronised (leap indicator 3).
    Unsynchronised,
    /// Stratum 16 or more.
    Stratum,
    /// A zero receive or transmit stamp.
    ZeroStamp,
    /// It says that it answered before it was asked.
    Backwards,
    /// It claims a root distance beyond the limit.
    RootDistance,
    /// It claims to have kept the request longer than the whole exchange took.
    Causality,
    /// A pulse, where it is not known which second begins with it.
    Unnumbered,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownSource => "no such source",
            Self::TooShort => "shorter than an NTP header",
            Self::Version => "not NTP version 4",
            Self::Mode => "not a server's answer",
            Self::Unexpected => "no request is waiting for an answer",
            Self::Origin => "its origin is not the nonce of the request",
            Self::Extension => "malformed extension fields",
            Self::Authentication => "its authentication is missing or wrong",
            Self::KeyId => "authenticated with another key",
            Self::CryptoNak => "the server rejects the key (crypto-NAK)",
            Self::UniqueId => "its unique identifier is not that of the request",
            Self::Kiss(kiss) => return write!(f, "kiss-o'-death {kiss}"),
            Self::Unsynchronised => "the server is not synchronised",
            Self::Stratum => "stratum 16 or more",
            Self::ZeroStamp => "a server stamp is zero",
            Self::Backwards => "answered before it was asked, by its own stamps",
            Self::RootDistance => "claims a root distance beyond the limit",
            Self::Unnumbered => "it is not known which second begins with the pulse",
            Self::Causality => "kept the request longer than the exchange took",
        })
    }
}

impl core::error::Error for Refused {}
