use alloc::vec::Vec;
use core::fmt;

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
}

/// Without the secret.
impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymmetricKey({} {})", self.id, self.algorithm.word())
    }
}
