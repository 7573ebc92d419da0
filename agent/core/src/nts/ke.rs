//! Establishing keys (RFC 8915 section 4): what client and server say to one another inside TLS 1.3.
//!
//! The shell connects to [`PORT`] with the protocol name [`ALPN`], sends [`request`], reads until
//! [`is_complete`] says so, hands all of it to [`parse`], and asks TLS for the two keys with
//! [`EXPORTER_LABEL`] and [`Response::exporter_context`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{AeadId, NtsKeys};
use crate::nts::{MAX_COOKIES, usable_cookie};

/// The TCP port of servers that exchange keys.
pub const PORT: u16 = 4460;
/// The name of the protocol inside TLS (ALPN).
pub const ALPN: &[u8] = b"ntske/1";
/// The label under which TLS exports keys.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-network-time-security";
/// Longer responses are not read: eight cookies and a name need far less.
pub const MAX_RESPONSE: usize = 16 * 1024;

const HEADER: usize = 4;
const CRITICAL: u16 = 1 << 15;
/// NTPv4 among the protocols that keys can be for.
const NTPV4: u16 = 0;

mod record {
    pub(super) const END: u16 = 0;
    pub(super) const NEXT_PROTOCOL: u16 = 1;
    pub(super) const ERROR: u16 = 2;
    pub(super) const WARNING: u16 = 3;
    pub(super) const AEAD: u16 = 4;
    pub(super) const COOKIE: u16 = 5;
    pub(super) const SERVER: u16 = 6;
    pub(super) const PORT: u16 = 7;
    /// chrony's: the keys of AEAD 30 are exported under 30, as the RFC has it, and not under 15, as
    /// chrony did at first.
    pub(super) const COMPLIANT_GCM_SIV: u16 = 1024;
}

/// Which of the two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ClientToServer,
    /// From the server to the client.
    ServerToClient,
}

/// Why a response is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeError {
    /// It ends before its last record.
    Incomplete,
    /// It is longer than [`MAX_RESPONSE`].
    TooLong,
    /// A record that is not as the RFC has it.
    Malformed,
    /// A record that must be understood and is not.
    UnknownCritical(u16),
    /// The server says that something went wrong (section 4.1.3): 0 it did not understand, 1 the request
    /// was bad, 2 it failed itself.
    Error(u16),
    /// The server warns of something unknown, which counts as an error (section 4.1.4).
    Warning(u16),
    /// It has no NTPv4.
    NoProtocol,
    /// It has none of our algorithms.
    NoAlgorithm,
    /// It gave no cookies.
    NoCookies,
    /// The keys that TLS gave do not fit the algorithm.
    KeyLength,
}

impl fmt::Display for KeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "the response ends too early",
            Self::TooLong => "the response does not end",
            Self::Malformed => "the response has a malformed record",
            Self::UnknownCritical(kind) => return write!(f, "unknown critical record {kind}"),
            Self::Error(code) => return write!(f, "the server says error {code}"),
            Self::Warning(code) => return write!(f, "the server says warning {code}"),
            Self::NoProtocol => "the server has no NTPv4",
            Self::NoAlgorithm => "the server has none of our algorithms",
            Self::NoCookies => "the server gave no cookies",
            Self::KeyLength => "the keys do not fit the algorithm",
        })
    }
}

impl core::error::Error for KeError {}

/// What the server agreed to.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    aead: AeadId,
    compliant_gcm_siv: bool,
    cookies: Vec<Vec<u8>>,
    server: Option<String>,
    port: Option<u16>,
}

/// Without the cookies.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("aead", &self.aead)
            .field("cookies", &self.cookies.len())
            .field("server", &self.server)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Response {
    /// Octets to ask TLS for, twice.
    pub const fn key_length(&self) -> usize {
        self.aead.key_length()
    }

    /// The context under which TLS exports the key of one direction (section 5.1).
    pub const fn exporter_context(&self, direction: Direction) -> [u8; 5] {
        let named = match self.aead {
            AeadId::Aes128GcmSiv if !self.compliant_gcm_siv => AeadId::AesSivCmac256,
            aead => aead,
        };
        let [high, low] = named.number().to_be_bytes();
        let which = match direction {
            Direction::ClientToServer => 0,
            Direction::ServerToClient => 1,
        };
        [0, 0, high, low, which]
    }

    /// Everything the engine needs, with the two keys that TLS exported.
    ///
    /// # Errors
    /// [`KeError::KeyLength`].
    pub fn with_keys(self, c2s: Vec<u8>, s2c: Vec<u8>) -> Result<NtsKeys, KeError> {
        let Self { aead, cookies, server, port, .. } = self;
        let keys = NtsKeys { aead, c2s, s2c, cookies, server, port };
        if keys.fit() { Ok(keys) } else { Err(KeError::KeyLength) }
    }
}

/// The client's request: NTPv4, with AES-128-GCM-SIV if the server has it and AES-SIV-CMAC-256 if not.
pub fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, CRITICAL | record::NEXT_PROTOCOL, &NTPV4.to_be_bytes());
    let [a, b] = AeadId::Aes128GcmSiv.number().to_be_bytes();
    let [c, d] = AeadId::AesSivCmac256.number().to_be_bytes();
    push(&mut bytes, CRITICAL | record::AEAD, &[a, b, c, d]);
    push(&mut bytes, record::COMPLIANT_GCM_SIV, &[]);
    push(&mut bytes, CRITICAL | record::END, &[]);
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let length = u16::try_from(body.len()).expect("invariant: our records are short");
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
}

/// One record; the kind without the critical bit.
struct Record<'a> {
    critical: bool,
    kind: u16,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([k0, k1, l0, l1], rest) = bytes.split_first_chunk::<HEADER>()?;
        let kind = u16::from_be_bytes([*k0, *k1]);
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let (body, rest) = rest.split_at_checked(length)?;
        Some((Self { critical: kind & CRITICAL != 0, kind: kind & !CRITICAL, body }, rest))
    }

    fn number(&self) -> Result<u16, KeError> {
        <[u8; 2]>::try_from(self.body).map(u16::from_be_bytes).map_err(|_| KeError::Malformed)
    }

    /// The one number that the server chose, or `none` if it could not.
    fn choice(&self, none: KeError) -> Result<u16, KeError> {
        if self.body.is_empty() { Err(none) } else { self.number() }
    }
}

/// Whether the last record of a response has been read.
pub fn is_complete(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((record, after)) = Record::split(rest) {
        if record.kind == record::END {
            return true;
        }
        rest = after;
    }
    false
}

/// Reads a whole response.
///
/// # Errors
/// Why it is of no use.
pub fn parse(bytes: &[u8]) -> Result<Response, KeError> {
    if bytes.len() > MAX_RESPONSE {
        return Err(KeError::TooLong);
    }
    let (mut protocol, mut aead, mut server, mut port) = (None, None, None, None);
    let (mut cookies, mut compliant_gcm_siv, mut rest) = (Vec::new(), false, bytes);
    loop {
        let (record, after) = Record::split(rest).ok_or(KeError::Incomplete)?;
        rest = after;
        match record.kind {
            record::END if record.body.is_empty() && rest.is_empty() => break,
            record::END => return Err(KeError::Malformed),
            record::ERROR => return Err(KeError::Error(record.number()?)),
            record::WARNING => return Err(KeError::Warning(record.number()?)),
            record::NEXT_PROTOCOL => once(&mut protocol, record.choice(KeError::NoProtocol)?)?,
            record::AEAD => once(&mut aead, record.choice(KeError::NoAlgorithm)?)?,
            record::COOKIE if cookies.len() < MAX_COOKIES && usable_cookie(record.body) => {
                cookies.push(record.body.to_vec());
            }
            record::COOKIE => {}
            record::SERVER => once(&mut server, name(record.body)?)?,
            record::PORT => match record.number()? {
                0 => return Err(KeError::Malformed),
                number => once(&mut port, number)?,
            },
            record::COMPLIANT_GCM_SIV if record.body.is_empty() => compliant_gcm_siv = true,
            kind if record.critical => return Err(KeError::UnknownCritical(kind)),
            _ => {}
        }
    }
    if protocol != Some(NTPV4) {
        return Err(KeError::NoProtocol);
    }
    let aead = aead.and_then(AeadId::from_number).ok_or(KeError::NoAlgorithm)?;
    if cookies.is_empty() {
        return Err(KeError::NoCookies);
    }
    Ok(Response { aead, compliant_gcm_siv, cookies, server, port })
}

/// A record that may come once only.
fn once<T>(seen: &mut Option<T>, value: T) -> Result<(), KeError> {
    match seen.replace(value) {
        None => Ok(()),
        Some(_) => Err(KeError::Malformed),
    }
}

/// A host name or address, as text that can be looked up and logged.
fn name(body: &[u8]) -> Result<String, KeError> {
    let fits = (1..=255).contains(&body.len()) && body.iter().all(u8::is_ascii_graphic);
    if !fits {
        return Err(KeError::Malformed);
    }
    Ok(body.iter().copied().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    type Plain<'a> = (u16, &'a [u8]);

    fn response(records: &[Plain]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, body) in records {
            push(&mut bytes, *kind, body);
        }
        bytes
    }

    const PROTOCOL: Plain = (0x8001, &[0, 0]);
    const SIV: Plain = (0x8004, &[0, 15]);
    const GCM: Plain = (0x8004, &[0, 30]);
    const COOKIE: Plain = (5, &[7; 100]);
    const END: Plain = (0x8000, &[]);

    /// Proves the octets of a request against RFC 8915 section 4.
    #[test]
    fn the_request_asks_for_ntp_and_two_algorithms() {
        let expected = [
            0x80, 1, 0, 2, 0, 0, // next protocol
            0x80, 4, 0, 4, 0, 30, 0, 15, // algorithms
            4, 0, 0, 0, // compliant export
            0x80, 0, 0, 0, // end
        ];
        assert_eq!(request(), expected);
    }

    /// Proves that a full response is read, and that the exporter's context names the algorithm.
    #[test]
    fn a_response_gives_cookies_server_and_contexts() {
        let bytes = response(&[
            PROTOCOL,
            SIV,
            (6, b"ntp.example.net"),
            (7, &[0x11, 0x22]),
            (0x4321, b"unknown, not critical"),
            COOKIE,
            COOKIE,
            END,
        ]);
        let parsed = parse(&bytes).unwrap();
        assert_eq!(parsed.exporter_context(Direction::ClientToServer), [0, 0, 0, 15, 0]);
        assert_eq!(parsed.exporter_context(Direction::ServerToClient), [0, 0, 0, 15, 1]);
        let keys = parsed.clone().with_keys(vec![1; 32], vec![2; 32]).unwrap();
        assert_eq!((keys.cookies.len(), keys.port), (2, Some(0x1122)));
        assert_eq!(keys.server.as_deref(), Some("ntp.example.net"));
        assert_eq!(parsed.with_keys(vec![1; 16], vec![2; 32]), Err(KeError::KeyLength));
        for end in 0..bytes.len() {
            assert!(!is_complete(&bytes[..end]), "{end}");
            assert_eq!(parse(&bytes[..end]), Err(KeError::Incomplete));
        }
        assert!(is_complete(&bytes));
    }

    /// Proves that the keys of AEAD 30 are exported under 15 by servers that do not say otherwise.
    #[test]
    fn chrony_says_under_which_number_it_exports() {
        let parsed = parse(&response(&[PROTOCOL, GCM, COOKIE, END])).unwrap();
        assert_eq!(parsed.exporter_context(Direction::ClientToServer), [0, 0, 0, 15, 0]);
        let parsed = parse(&response(&[PROTOCOL, GCM, (1024, &[]), COOKIE, END])).unwrap();
        assert_eq!(parsed.exporter_context(Direction::ServerToClient), [0, 0, 0, 30, 1]);
        assert_eq!(parsed.key_length(), 16);
    }

    /// Proves each refusal, on an otherwise good response.
    #[test]
    fn bad_responses_are_refused_with_the_reason() {
        let cases: [(&[Plain], KeError); 15] = [
            (&[PROTOCOL, SIV, COOKIE, (0xc321, &[]), END], KeError::UnknownCritical(0x4321)),
            (&[(0x8002, &[0, 1]), END], KeError::Error(1)),
            (&[PROTOCOL, SIV, COOKIE, (0x8003, &[0, 9]), END], KeError::Warning(9)),
            (&[(0x8002, &[1]), END], KeError::Malformed),
            (&[SIV, COOKIE, END], KeError::NoProtocol),
            (&[(0x8001, &[]), SIV, COOKIE, END], KeError::NoProtocol),
            (&[(0x8001, &[0, 1]), SIV, COOKIE, END], KeError::NoProtocol),
            (&[PROTOCOL, COOKIE, END], KeError::NoAlgorithm),
            (&[PROTOCOL, (0x8004, &[]), COOKIE, END], KeError::NoAlgorithm),
            (&[PROTOCOL, (0x8004, &[0, 16]), COOKIE, END], KeError::NoAlgorithm),
            (&[PROTOCOL, (0x8004, &[0, 15, 0, 30]), COOKIE, END], KeError::Malformed),
            (&[PROTOCOL, PROTOCOL, SIV, COOKIE, END], KeError::Malformed),
            (&[PROTOCOL, SIV, END], KeError::NoCookies),
            (&[PROTOCOL, SIV, COOKIE, (6, b"not a\nname"), END], KeError::Malformed),
            (&[PROTOCOL, SIV, COOKIE, END, END], KeError::Malformed),
        ];
        for (records, error) in cases {
            assert_eq!(parse(&response(records)), Err(error), "{records:?}");
        }
    }
}
