use alloc::collections::VecDeque;
use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use timebase::{Raw, Span, Timestamp};

use super::aead::Aead;
use super::{MAX_COOKIES, NtsFailure, NtsKeys, usable_cookie};
use crate::Refused;
use crate::nonces::Nonces;
use crate::ntp::{Kiss, Packet, Trailer, fields, push_field};

/// Types of extension fields (RFC 8915 section 5).
mod kind {
    pub(super) const UNIQUE_ID: u16 = 0x0104;
    pub(super) const COOKIE: u16 = 0x0204;
    pub(super) const PLACEHOLDER: u16 = 0x0304;
    pub(super) const AUTHENTICATOR: u16 = 0x0404;
}

/// Octets of a unique identifier.
const UNIQUE_ID: usize = 32;
/// Cookies and room for new ones take no more than this of a request, so that it is not cut in pieces.
const MAX_COOKIE_SPACE: usize = 864;
/// Keys are established anew after so long.
const MAX_KEY_AGE: Span = Span::from_secs(7 * 86_400);
/// First and longest wait from one exchange of keys to the next. It doubles until an answer is
/// authentic, so that a server whose keys are of no use is left in peace.
const EXCHANGE_AGAIN: (Span, Span) = (Span::from_secs(10), Span::from_secs(1 << 17));
/// Longest wait while no connection to the server can be made.
const CONNECT_AGAIN: Span = Span::from_secs(1024);

/// The keys that client and server share, the cookies that remind the server of them, and when to get
/// others.
#[derive(Clone)]
pub(crate) struct Association {
    session: Option<Session>,
    /// Whether keys are being exchanged.
    exchanging: bool,
    next_exchange: Timestamp<Raw>,
    wait: Span,
    /// Of the request that is out.
    unique_id: [u8; UNIQUE_ID],
    /// Whether the server said, unsealed, that it does not know the cookie of that request.
    nak: bool,
}

#[derive(Clone)]
struct Session {
    c2s: Aead,
    s2c: Aead,
    cookies: VecDeque<Vec<u8>>,
    since: Timestamp<Raw>,
}

/// Without keys and cookies.
impl core::fmt::Debug for Association {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let cookies = self.session.as_ref().map(|session| session.cookies.len());
        f.debug_struct("Association").field("cookies", &cookies).finish_non_exhaustive()
    }
}

impl Association {
    pub(crate) fn new(now: Timestamp<Raw>) -> Self {
        Self {
            session: None,
            exchanging: false,
            next_exchange: now,
            wait: EXCHANGE_AGAIN.0,
            unique_id: [0; UNIQUE_ID],
            nak: false,
        }
    }

    /// For another server in the same place: without keys, but an exchange under way goes on.
    pub(crate) fn anew(&self) -> Self {
        Self { session: None, nak: false, ..self.clone() }
    }

    /// Whether a request can be made at that time: there is a cookie, and the keys are not too old.
    pub(crate) fn is_ready(&self, now: Timestamp<Raw>) -> bool {
        let usable =
            |session: &Session| !session.cookies.is_empty() && now - session.since <= MAX_KEY_AGE;
        self.session.as_ref().is_some_and(usable)
    }

    /// When keys should be exchanged, if a request is due and there are none; `None` while they are.
    pub(crate) fn next_exchange(&self) -> Option<Timestamp<Raw>> {
        (!self.exchanging).then_some(self.next_exchange)
    }

    /// Keys are being exchanged from now on.
    pub(crate) fn begin_exchange(&mut self, now: Timestamp<Raw>) {
        self.exchanging = true;
        self.next_exchange = now + self.wait;
        self.wait = self.wait.times(2).min(EXCHANGE_AGAIN.1);
    }

    pub(crate) fn handle_keys(&mut self, now: Timestamp<Raw>, keys: NtsKeys) {
        self.exchanging = false;
        if !keys.fit() {
            return;
        }
        let mut cookies: VecDeque<_> = keys.cookies.into();
        cookies.retain(|cookie| usable_cookie(cookie));
        cookies.truncate(MAX_COOKIES);
        self.session = Some(Session {
            c2s: Aead::new(keys.aead, keys.c2s),
            s2c: Aead::new(keys.aead, keys.s2c),
            cookies,
            since: now,
        });
    }

    pub(crate) fn handle_failure(&mut self, now: Timestamp<Raw>, why: NtsFailure) {
        self.exchanging = false;
        if why == NtsFailure::Connection {
            self.wait = self.wait.min(CONNECT_AGAIN);
            self.next_exchange = self.next_exchange.min(now + self.wait);
        }
    }

    /// The last request got no authentic answer. If the server said that it does not know its cookie,
    /// the others are of no use either.
    pub(crate) fn missed(&mut self) {
        if core::mem::take(&mut self.nak) {
            self.session = None;
        }
    }

    /// Seals a request, with the next cookie; `None` if there is none.
    pub(crate) fn seal(&mut self, mut packet: Vec<u8>, nonces: &mut Nonces) -> Option<Vec<u8>> {
        let session = self.session.as_mut()?;
        let cookie = session.cookies.pop_front()?;
        self.unique_id = nonces.bytes();
        self.nak = false;
        push_field(&mut packet, kind::UNIQUE_ID, &self.unique_id);
        push_field(&mut packet, kind::COOKIE, &cookie);
        // The answer brings one cookie, and one for each placeholder.
        let missing = MAX_COOKIES - session.cookies.len() - 1;
        let room = (MAX_COOKIE_SPACE / (cookie.len() + 4)).saturating_sub(1);
        let placeholder = alloc::vec![0; cookie.len()];
        for _ in 0..missing.min(room) {
            push_field(&mut packet, kind::PLACEHOLDER, &placeholder);
        }
        let nonce = session.c2s.nonce(nonces);
        let sealed = session.c2s.seal(&nonce, &packet, &[])?;
        push_field(&mut packet, kind::AUTHENTICATOR, &authenticator(&nonce, &sealed));
        Some(packet)
    }

    /// Checks an answer and keeps the cookies that came with it.
    pub(crate) fn open(&mut self, header: &Packet, bytes: &[u8]) -> Result<(), Refused> {
        let trailer = Trailer::parse(bytes)?;
        let mut ids = trailer.fields.iter().filter(|field| field.kind == kind::UNIQUE_ID);
        let (Some(id), None) = (ids.next(), ids.next()) else {
            return Err(Refused::UniqueId);
        };
        if !bool::from(id.body.ct_eq(&self.unique_id)) {
            return Err(Refused::UniqueId);
        }
        let seal = trailer.fields.iter().find(|field| field.kind == kind::AUTHENTICATOR);
        let Some(seal) = seal else {
            let kiss = Kiss::from_reference_id(header.reference_id);
            if header.stratum == 0 && kiss == Kiss::NtsNak {
                self.nak = true;
                return Err(Refused::Kiss(kiss));
            }
            return Err(Refused::Authentication);
        };
        // What comes after the seal, and an identifier there, is not sealed.
        if seal.at < id.at {
            return Err(Refused::UniqueId);
        }
        let session = self.session.as_mut().ok_or(Refused::Authentication)?;
        let (nonce, sealed) = split_authenticator(seal.body).ok_or(Refused::Extension)?;
        let opened = session.s2c.open(nonce, &bytes[..seal.at], sealed);
        let opened = opened.ok_or(Refused::Authentication)?;
        for field in fields(&opened)? {
            let room = session.cookies.len() < MAX_COOKIES;
            if field.kind == kind::COOKIE && usable_cookie(field.body) && room {
                session.cookies.push_back(field.body.to_vec());
            }
        }
        self.nak = false;
        self.wait = EXCHANGE_AGAIN.0;
        Ok(())
    }
}

/// The body of an authenticator: two lengths, the nonce, what is sealed (RFC 8915 section 5.6).
fn authenticator(nonce: &[u8], sealed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [nonce, sealed] {
        let length = u16::try_from(part.len()).expect("invariant: we seal little");
        body.extend_from_slice(&length.to_be_bytes());
    }
    for part in [nonce, sealed] {
        body.extend_from_slice(part);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    body
}

fn split_authenticator(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([n0, n1, s0, s1], rest) = body.split_first_chunk::<4>()?;
    let nonce_length = usize::from(u16::from_be_bytes([*n0, *n1]));
    let sealed_length = usize::from(u16::from_be_bytes([*s0, *s1]));
    let nonce = rest.get(..nonce_length)?;
    let sealed = rest.get(nonce_length.next_multiple_of(4)..)?.get(..sealed_length)?;
    Some((nonce, sealed))
}
