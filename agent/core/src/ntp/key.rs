use alloc::vec::Vec;
use core::fmt;

use aes::{Aes128, Aes256};
use cmac::{Cmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Refused;

/// Octets of a key id.
const ID: usize = 4;
/// Digests are cut to this, so that a MAC can be told from an extension field (RFC 7822).
const MAX_DIGEST: usize = 20;

/// How a shared key authenticates a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// MD5 of key and packet: broken, for servers that know nothing better.
    Md5,
    /// SHA-1 of key and packet.
    Sha1,
    /// SHA-256 of key and packet, cut to 160 bits.
    Sha256,
    /// AES-CMAC (RFC 8573) with a key of 128 bits.
    Aes128,
    /// AES-CMAC with a key of 256 bits.
    Aes256,
}

impl KeyAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Aes128, Self::Aes256];

    /// Its name in key files, as chrony writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Aes128 => "AES128",
            Self::Aes256 => "AES256",
        }
    }

    /// The algorithm that a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }

    /// Whether a secret of `length` octets can be used.
    const fn takes(self, length: usize) -> bool {
        match self {
            Self::Aes128 => length == 16,
            Self::Aes256 => length == 32,
            _ => length > 0,
        }
    }

    /// Whether it withstands nobody who tries.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Md5)
    }
}

/// A key that client and server share, with the number they know it by.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey {
    id: u32,
    algorithm: KeyAlgorithm,
    secret: Vec<u8>,
}

impl SymmetricKey {
    /// A key; `None` if the number is 0 or the secret has a length that the algorithm cannot use.
    pub fn new(id: u32, algorithm: KeyAlgorithm, secret: Vec<u8>) -> Option<Self> {
        (id != 0 && algorithm.takes(secret.len())).then_some(Self { id, algorithm, secret })
    }

    /// Its number.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Its algorithm.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Appends key id and digest of all that is in the packet.
    pub fn sign(&self, packet: &mut Vec<u8>) {
        let digest = self.digest(packet);
        packet.extend_from_slice(&self.id.to_be_bytes());
        packet.extend_from_slice(&digest);
    }

    /// Checks the MAC at the end of a packet.
    ///
    /// # Errors
    /// What is wrong with it, or [`Refused::Authentication`] without one.
    pub fn check(&self, packet: &[u8], mac: Option<&[u8]>) -> Result<(), Refused> {
        let mac = mac.ok_or(Refused::Authentication)?;
        let (signed, _) = packet.split_at(packet.len() - mac.len());
        let (id, digest) = mac.split_first_chunk::<ID>().ok_or(Refused::Authentication)?;
        match u32::from_be_bytes(*id) {
            0 if digest.is_empty() => return Err(Refused::CryptoNak),
            id if id != self.id => return Err(Refused::KeyId),
            _ => {}
        }
        let same = bool::from(self.digest(signed).ct_eq(digest));
        if same { Ok(()) } else { Err(Refused::Authentication) }
    }

    fn digest(&self, message: &[u8]) -> Vec<u8> {
        let mut digest = match self.algorithm {
            KeyAlgorithm::Md5 => hash::<Md5>(&self.secret, message),
            KeyAlgorithm::Sha1 => hash::<Sha1>(&self.secret, message),
            KeyAlgorithm::Sha256 => hash::<Sha256>(&self.secret, message),
            KeyAlgorithm::Aes128 => authenticate::<Cmac<Aes128>>(&self.secret, message),
            KeyAlgorithm::Aes256 => authenticate::<Cmac<Aes256>>(&self.secret, message),
        };
        digest.truncate(MAX_DIGEST);
        digest
    }
}

/// Without the secret.
impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymmetricKey({} {})", self.id, self.algorithm.word())
    }
}

/// The digest of key and message (RFC 5905 appendix A.2): not HMAC.
fn hash<D: Digest>(secret: &[u8], message: &[u8]) -> Vec<u8> {
    D::new().chain_update(secret).chain_update(message).finalize().to_vec()
}

fn authenticate<M: Mac + KeyInit>(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mac = <M as KeyInit>::new_from_slice(secret);
    let mac = mac.expect("invariant: the length was checked when the key was made");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SECRET: [u8; 16] = [
        0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f,
        0x3c,
    ];

    /// Proves AES-CMAC against examples 1 and 2 of RFC 4493 section 4.
    #[test]
    fn cmac_gives_the_digests_of_rfc_4493() {
        let key = SymmetricKey::new(1, KeyAlgorithm::Aes128, SECRET.to_vec()).unwrap();
        let empty = 0xbb1d_6929_e959_3728_7fa3_7d12_9b75_6746_u128;
        assert_eq!(key.digest(&[]), empty.to_be_bytes());
        let block = 0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128.to_be_bytes();
        let expected = 0x070a_16b4_6b4d_4144_f79b_dd9d_d04a_287c_u128;
        assert_eq!(key.digest(&block), expected.to_be_bytes());
    }

    /// Proves that the digests are those of key followed by message, cut to 160 bits.
    #[test]
    fn hashes_are_of_key_and_message() {
        // The hash of "abc" (RFC 1321, FIPS 180-4), split between key and message.
        let digest = |algorithm| SymmetricKey::new(1, algorithm, vec![b'a']).unwrap().digest(b"bc");
        let md5 = 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72_u128;
        assert_eq!(digest(KeyAlgorithm::Md5), md5.to_be_bytes());
        let sha1 = digest(KeyAlgorithm::Sha1);
        assert_eq!((sha1.len(), &sha1[..4]), (20, &[0xa9, 0x99, 0x3e, 0x36][..]));
        let sha256 = digest(KeyAlgorithm::Sha256);
        assert_eq!((sha256.len(), &sha256[..4]), (20, &[0xba, 0x78, 0x16, 0xbf][..]));
    }

    /// Proves that what is signed is accepted, and nothing else is.
    #[test]
    fn only_the_right_mac_is_accepted() {
        for algorithm in KeyAlgorithm::ALL {
            let secret = vec![5; if algorithm == KeyAlgorithm::Aes256 { 32 } else { 16 }];
            let key = SymmetricKey::new(7, algorithm, secret.clone()).unwrap();
            let mut packet = vec![3; 48];
            key.sign(&mut packet);
            assert!(packet.len() <= 72);
            assert_eq!(key.check(&packet, Some(&packet[48..])), Ok(()));
            assert_eq!(key.check(&packet[..48], None), Err(Refused::Authentication));
            let other = SymmetricKey::new(8, algorithm, secret).unwrap();
            assert_eq!(other.check(&packet, Some(&packet[48..])), Err(Refused::KeyId));
            for at in (0..48).chain(52..packet.len()) {
                packet[at] ^= 1;
                let refused = key.check(&packet, Some(&packet[48..]));
                assert_eq!(refused, Err(Refused::Authentication), "{at}");
                packet[at] ^= 1;
            }
        }
        let key = SymmetricKey::new(7, KeyAlgorithm::Sha1, vec![1]).unwrap();
        assert_eq!(key.check(&[0; 52], Some(&[0; 4])), Err(Refused::CryptoNak));
    }

    /// Proves that unusable keys are refused, and that a key does not show its secret.
    #[test]
    fn keys_are_checked_and_keep_their_secret() {
        assert_eq!(SymmetricKey::new(0, KeyAlgorithm::Sha1, vec![1]), None);
        assert_eq!(SymmetricKey::new(1, KeyAlgorithm::Sha1, vec![]), None);
        assert_eq!(SymmetricKey::new(1, KeyAlgorithm::Aes128, vec![1; 20]), None);
        let key = SymmetricKey::new(1, KeyAlgorithm::Sha1, vec![111]).unwrap();
        assert_eq!(alloc::format!("{key:?}"), "SymmetricKey(1 SHA1)");
    }
}
