//! Network Time Security (RFC 8915), the client's side.

mod aead;
mod association;
pub mod ke;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub(crate) use association::Association;
pub use ke::KeError;

/// Most cookies kept: as many as a server gives at once (RFC 8915 section 5.7).
const MAX_COOKIES: usize = 8;
/// Longer cookies are passed over: a request has to carry one, and often room for others as large.
const MAX_COOKIE: usize = 512;

/// Whether octets can be a cookie of ours: they have to fill an extension field.
fn usable_cookie(cookie: &[u8]) -> bool {
    (12..=MAX_COOKIE).contains(&cookie.len()) && cookie.len().is_multiple_of(4)
}

/// An algorithm for authenticated encryption, by its number at IANA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AeadId {
    /// AEAD_AES_SIV_CMAC_256 (15), which every server has.
    AesSivCmac256,
    /// AEAD_AES_128_GCM_SIV (30): shorter keys and cookies.
    Aes128GcmSiv,
}

impl AeadId {
    /// Its number at IANA.
    pub const fn number(self) -> u16 {
        match self {
            Self::AesSivCmac256 => 15,
            Self::Aes128GcmSiv => 30,
        }
    }

    /// The algorithm of a number, if it is one of ours.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            15 => Some(Self::AesSivCmac256),
            30 => Some(Self::Aes128GcmSiv),
            _ => None,
        }
    }

    /// Octets of each of the two keys.
    pub const fn key_length(self) -> usize {
        match self {
            Self::AesSivCmac256 => 32,
            Self::Aes128GcmSiv => 16,
        }
    }
}

/// What a key exchange gives.
#[derive(Clone, PartialEq, Eq)]
pub struct NtsKeys {
    /// How packets are sealed.
    pub aead: AeadId,
    /// Seals what the client sends.
    pub c2s: Vec<u8>,
    /// Seals what the server sends.
    pub s2c: Vec<u8>,
    /// To be shown to the server, each once.
    pub cookies: Vec<Vec<u8>>,
    /// The NTP server to ask; `None`: the one that keys were exchanged with.
    pub server: Option<String>,
    /// Its port; `None`: 123.
    pub port: Option<u16>,
}

impl NtsKeys {
    /// Whether the keys are as long as the algorithm has them.
    fn fit(&self) -> bool {
        let length = self.aead.key_length();
        self.c2s.len() == length && self.s2c.len() == length
    }
}

/// Without keys and cookies.
impl fmt::Debug for NtsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NtsKeys")
            .field("aead", &self.aead)
            .field("cookies", &self.cookies.len())
            .field("server", &self.server)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why a key exchange gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtsFailure {
    /// No connection, or it broke.
    Connection,
    /// The server's certificate is not valid for its name, or TLS failed otherwise.
    Tls,
    /// What the server said is of no use.
    Protocol(KeError),
}

impl fmt::Display for NtsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("no connection for the exchange of keys"),
            Self::Tls => f.write_str("TLS failed, or the certificate is not the server's"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NtsFailure {}
