use alloc::vec::Vec;

use aes_gcm_siv::aead::{Aead as _, Payload};
use aes_gcm_siv::{Aes128GcmSiv, KeyInit, Nonce};
use aes_siv::siv::Aes128Siv;

use super::AeadId;
use crate::nonces::Nonces;

/// Octets of a nonce for GCM-SIV (RFC 8452 section 4).
const GCM_SIV_NONCE: usize = 12;
/// Octets of a nonce for SIV: any would do (RFC 5297); so many need no padding (RFC 8915 section 5.6).
const SIV_NONCE: usize = 16;

/// One algorithm with one key. Both withstand a repeated nonce.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Aead {
    id: AeadId,
    key: Vec<u8>,
}

impl Aead {
    pub(super) fn new(id: AeadId, key: Vec<u8>) -> Self {
        Self { id, key }
    }

    /// A nonce of the right length.
    pub(super) fn nonce(&self, nonces: &mut Nonces) -> Vec<u8> {
        match self.id {
            AeadId::AesSivCmac256 => nonces.bytes::<SIV_NONCE>().to_vec(),
            AeadId::Aes128GcmSiv => nonces.bytes::<GCM_SIV_NONCE>().to_vec(),
        }
    }

    pub(super) fn seal(&self, nonce: &[u8], data: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
        match self.id {
            AeadId::AesSivCmac256 => {
                let mut siv = Aes128Siv::new_from_slice(&self.key).ok()?;
                siv.encrypt([data, nonce], plaintext).ok()
            }
            AeadId::Aes128GcmSiv => {
                let nonce = <&Nonce>::try_from(nonce).ok()?;
                let cipher = Aes128GcmSiv::new_from_slice(&self.key).ok()?;
                cipher.encrypt(nonce, Payload { msg: plaintext, aad: data }).ok()
            }
        }
    }

    /// The plaintext, if nobody without the key has touched it nor the associated data.
    pub(super) fn open(&self, nonce: &[u8], data: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        match self.id {
            AeadId::AesSivCmac256 => {
                let mut siv = Aes128Siv::new_from_slice(&self.key).ok()?;
                siv.decrypt([data, nonce], ciphertext).ok()
            }
            AeadId::Aes128GcmSiv => {
                let nonce = <&Nonce>::try_from(nonce).ok()?;
                let cipher = Aes128GcmSiv::new_from_slice(&self.key).ok()?;
                cipher.decrypt(nonce, Payload { msg: ciphertext, aad: data }).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
            .collect()
    }

    /// Proves AES-SIV against RFC 5297: appendix A.1 with one header, A.2 with a nonce.
    #[test]
    fn aes_siv_gives_the_vectors_of_rfc_5297() {
        let key = hex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let mut siv = Aes128Siv::new_from_slice(&key).unwrap();
        let data = hex("101112131415161718191a1b1c1d1e1f2021222324252627");
        let sealed = siv.encrypt([&data], &hex("112233445566778899aabbccddee")).unwrap();
        let expected = hex("85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c");
        assert_eq!(sealed, expected);

        let key = hex("7f7e7d7c7b7a79787776757473727170 404142434445464748494a4b4c4d4e4f");
        let mut siv = Aes128Siv::new_from_slice(&key).unwrap();
        let headers = [
            hex("00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100"),
            hex("102030405060708090a0"),
            hex("09f911029d74e35bd84156c5635688c0"),
        ];
        let plaintext = b"this is some plaintext to encrypt using SIV-AES";
        let expected = hex("7bdb6e3b432667eb06f4d14bff2fbd0f cb900f2fddbe404326601965c889bf17
             dba77ceb094fa663b7a3f748ba8af829 ea64ad544a272e9c485b62a3fd5c0d");
        assert_eq!(siv.encrypt(&headers, plaintext).unwrap(), expected);
    }

    /// Proves AES-128-GCM-SIV against RFC 8452 appendix C.1.
    #[test]
    fn gcm_siv_gives_the_vectors_of_rfc_8452() {
        let mut key = [0; 16];
        key[0] = 1;
        let aead = Aead::new(AeadId::Aes128GcmSiv, key.to_vec());
        let nonce = hex("030000000000000000000000");
        let cases = [
            ("", "", "dc20e2d83f25705bb49e439eca56de25"),
            ("", "0100000000000000", "b5d839330ac7b786578782fff6013b815b287c22493a364c"),
            ("01", "0200000000000000", "1e6daba35669f4273b0a1a2560969cdf790d99759abd1508"),
        ];
        for (data, plaintext, sealed) in cases {
            let (data, plaintext) = (hex(data), hex(plaintext));
            assert_eq!(aead.seal(&nonce, &data, &plaintext), Some(hex(sealed)));
            assert_eq!(aead.open(&nonce, &data, &hex(sealed)), Some(plaintext));
        }
    }

    /// Proves for both algorithms that what was sealed opens, and that any change is noticed.
    #[test]
    fn any_change_is_noticed() {
        for id in [AeadId::AesSivCmac256, AeadId::Aes128GcmSiv] {
            let aead = Aead::new(id, alloc::vec![7; id.key_length()]);
            let nonce = aead.nonce(&mut Nonces::new([4; 32]));
            let sealed = aead.seal(&nonce, b"data", b"secret").unwrap();
            assert_eq!(aead.open(&nonce, b"data", &sealed).as_deref(), Some(&b"secret"[..]));
            assert_eq!(aead.open(&nonce, b"dada", &sealed), None);
            assert_eq!(aead.open(&nonce[1..], b"data", &sealed), None);
            assert_eq!(aead.open(&nonce, b"data", &sealed[..7]), None);
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(aead.open(&nonce, b"data", &changed), None);
            }
        }
    }
}
