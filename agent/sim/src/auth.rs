//! The server's side of authentication.

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use agent_core::ntp::{SymmetricKey, Trailer};
use agent_core::nts::{AeadId, NtsKeys};
use timebase::Span;

/// Extension fields of RFC 8915: unique identifier, cookie, room for another, and the seal.
const UNIQUE: u16 = 0x104;
const COOKIE: u16 = 0x204;
const PLACEHOLDER: u16 = 0x304;
const SEAL: u16 = 0x404;
/// Octets of a cookie.
const COOKIE_LENGTH: usize = 100;
/// Cookies given at an exchange of keys.
const COOKIES: usize = 8;
const C2S: [u8; 32] = [0xc2; 32];
const S2C: [u8; 32] = [0x2c; 32];

/// How a server proves who it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// By this key.
    Key(SymmetricKey),
    /// By Network Time Security. Its cookies are good for this long, and for as long again.
    Nts(Span),
}

impl Auth {
    /// What an exchange of keys gives, `since` the host's first boot.
    pub(crate) fn exchange(&self, since: Span) -> Option<NtsKeys> {
        let Self::Nts(rotates) = self else { return None };
        Some(NtsKeys {
            aead: AeadId::AesSivCmac256,
            c2s: C2S.to_vec(),
            s2c: S2C.to_vec(),
            cookies: vec![cookie(generation(since, *rotates)); COOKIES],
            server: None,
            port: None,
        })
    }

    /// The answer with its proof; `None`: the request proves nothing, and gets no answer.
    pub(crate) fn seal(&self, request: &[u8], mut header: Vec<u8>, since: Span) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(header),
            Self::Key(key) => {
                key.check(request, Trailer::parse(request).ok()?.mac).ok()?;
                key.sign(&mut header);
                Some(header)
            }
            Self::Nts(rotates) => nts(request, header, generation(since, *rotates)),
        }
    }
}

/// Cookies are sealed with a key that changes; here, they hold its number.
fn generation(since: Span, rotates: Span) -> i64 {
    since.as_ns() / rotates.as_ns().max(1)
}

fn cookie(generation: i64) -> Vec<u8> {
    let mut cookie = vec![0; COOKIE_LENGTH];
    cookie[..8].copy_from_slice(&generation.to_be_bytes());
    cookie
}

fn nts(request: &[u8], mut answer: Vec<u8>, generation: i64) -> Option<Vec<u8>> {
    let fields = Trailer::parse(request).ok()?.fields;
    let find = |kind| fields.iter().find(move |field| field.kind == kind);
    let (unique, shown, seal) = (find(UNIQUE)?, find(COOKIE)?, find(SEAL)?);
    let of = i64::from_be_bytes(*shown.body.first_chunk()?);
    if generation - of > 1 {
        // Stratum 0 and the kiss code NTSN: begin anew.
        answer[1] = 0;
        answer[12..16].copy_from_slice(b"NTSN");
        push(&mut answer, UNIQUE, unique.body);
        return Some(answer);
    }
    let mut siv = Aes128Siv::new_from_slice(&C2S).ok()?;
    let (nonce, sealed) = (seal.body.get(4..20)?, seal.body.get(20..)?);
    siv.decrypt([&request[..seal.at], nonce], sealed).ok()?;
    push(&mut answer, UNIQUE, unique.body);
    let wanted = fields.iter().filter(|field| matches!(field.kind, COOKIE | PLACEHOLDER)).count();
    let mut plain = Vec::new();
    (0..wanted).for_each(|_| push(&mut plain, COOKIE, &cookie(generation)));
    let mut siv = Aes128Siv::new_from_slice(&S2C).ok()?;
    // The nonce is that of the request: the other direction has another key.
    let sealed = siv.encrypt([&answer[..], nonce], &plain).ok()?;
    let mut body = vec![0, 16];
    body.extend_from_slice(&u16::try_from(sealed.len()).ok()?.to_be_bytes());
    body.extend_from_slice(nonce);
    body.extend_from_slice(&sealed);
    push(&mut answer, SEAL, &body);
    Some(answer)
}

fn push(packet: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let length = (body.len() + 4).next_multiple_of(4);
    let end = packet.len() + length;
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&(length as u16).to_be_bytes());
    packet.extend_from_slice(body);
    packet.resize(end, 0);
}
