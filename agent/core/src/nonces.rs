use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// Numbers for the wire that nobody can guess from those seen before: AES-256 in counter mode.
///
/// The seed is the key; it has to come from the system's generator and is used for nothing else. A
/// repeated seed repeats the numbers: right for a simulation, and without harm to the keys of NTS, whose
/// algorithms withstand a repeated nonce.
#[derive(Clone)]
pub(crate) struct Nonces {
    cipher: Aes256,
    counter: u128,
}

/// Without the key.
impl core::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { cipher: Aes256::new(&seed.into()), counter: 0 }
    }

    /// `N` octets.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(16) {
            self.counter += 1;
            let mut block = self.counter.to_be_bytes().into();
            self.cipher.encrypt_block(&mut block);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        bytes
    }

    /// A number for a field of a packet where zero means nothing.
    pub(crate) fn non_zero(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes()) | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the numbers are AES-256 of a counter, by FIPS-197 appendix C.3 run backwards: a known
    /// key gives known blocks, and none is given twice.
    #[test]
    fn numbers_depend_on_the_seed_and_do_not_repeat() {
        let mut nonces = Nonces::new([0; 32]);
        // AES-256 with a zero key of the block 00…01 (NIST, variable text).
        let first = 0x530f_8afb_c745_36b9_a963_b4f1_c4cb_738b_u128;
        assert_eq!(nonces.bytes::<16>(), first.to_be_bytes());
        let (a, b) = (nonces.bytes::<32>(), nonces.bytes::<32>());
        assert!(a != b && a[..16] != a[16..]);
        assert_ne!(Nonces::new([1; 32]).non_zero(), Nonces::new([2; 32]).non_zero());
        assert_eq!(alloc::format!("{nonces:?}"), "Nonces");
    }
}
