//! Secrets that this collector hands out: random, shown once, kept only as a hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a secret opens; the prefix makes a leaked one recognisable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Enrols a host.
    JoinToken,
    /// Speaks for one host.
    HostCredential,
    /// Signs a person in.
    Password,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::JoinToken => "tcj_",
            Self::HostCredential => "tch_",
            Self::Password => "",
        }
    }

    /// Passwords are typed; the others are 256 bits.
    fn bytes(self) -> usize {
        match self {
            Self::Password => 15,
            Self::JoinToken | Self::HostCredential => 32,
        }
    }
}

/// Whether a text is formed like a token or credential of this kind; one that is not is nobody's, and no
/// database need be asked.
pub fn is_formed(kind: Kind, text: &str) -> bool {
    let random = text.trim().strip_prefix(kind.prefix());
    random
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .is_some_and(|r| r.len() == kind.bytes())
}

/// A new secret, from the system's randomness.
///
/// # Errors
/// The system has no randomness to give.
pub fn generate(kind: Kind) -> anyhow::Result<String> {
    let mut bytes = vec![0u8; kind.bytes()];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness to be had"))?;
    Ok(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is stored of a secret. A plain SHA-256 is enough: nobody guesses 256 random bits. Passwords
/// are hashed elsewhere, slowly.
pub fn hash(secret: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.trim().as_bytes());
    digest.as_ref().try_into().expect("invariant: SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that every secret made here is taken for one, and nothing of another shape is.
    #[test]
    fn secrets_are_told_by_their_form() {
        let (join, host) = (Kind::JoinToken, Kind::HostCredential);
        let token = generate(join).unwrap();
        assert!(is_formed(join, &token) && is_formed(join, &format!("{token}\n")));
        assert!(is_formed(host, &generate(host).unwrap()));
        for other in ["", "tcj_", "tch_", &token[4..], &token[..46], "tcj_made up", "Bearer"] {
            assert!(!is_formed(join, other), "{other:?}");
        }
        assert!(!is_formed(host, &token) && !is_formed(join, &format!("{token}A")));
    }

    /// Proves that secrets differ, carry their prefix and hash as SHA-256 of the text.
    #[test]
    fn secrets_are_random_and_hashed() {
        let (a, b) = (generate(Kind::JoinToken).unwrap(), generate(Kind::JoinToken).unwrap());
        assert!(a.starts_with("tcj_") && a.len() == 4 + 43 && a != b);
        assert_ne!(hash(&a), hash(&b));
        // FIPS 180-2, the message "abc".
        assert_eq!(hash("abc\n")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
