//! The signature scheme of Standard Webhooks (standardwebhooks.com, "Signature scheme"): HMAC-SHA256
//! over `id.timestamp.body` with the endpoint's secret.

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The specification asks for 24 to 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const PREFIX: &str = "whsec_";

/// An endpoint's signing key. It has no `Debug`: a secret is never printed.
pub(super) struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// Reads `whsec_<base64>`.
    ///
    /// # Errors
    /// The text has another prefix, is not base64, or has too few or too many bytes. The message does
    /// not hold the secret.
    pub(super) fn parse(secret: &str) -> anyhow::Result<Self> {
        let encoded = secret.trim().strip_prefix(PREFIX);
        let encoded = encoded.context("a signing secret begins with whsec_")?;
        // The decoder's own error quotes a byte of the secret.
        let bytes = STANDARD.decode(encoded).ok().context("after whsec_ comes base64")?;
        ensure!(
            KEY_BYTES.contains(&bytes.len()),
            "a signing secret has {} to {} bytes, this one has {}",
            KEY_BYTES.start(),
            KEY_BYTES.end(),
            bytes.len()
        );
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{unix_seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature is the one that the scheme's own reference library makes.
    #[test]
    fn signs_as_the_reference_library_does() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let (id, at, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let ours = Signer::parse(secret).unwrap().sign(id, at, body);
        let oracle = standardwebhooks::Webhook::new(secret).unwrap();
        assert_eq!(ours, oracle.sign(id, at, body).unwrap());
    }

    /// A bad secret is refused without being repeated in the message.
    #[test]
    fn bad_secrets_are_refused_unseen() {
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%SECRET%%%", "whsec_c2hvcnQ="] {
            let error = Signer::parse(bad).err().unwrap();
            let text = format!("{error:#}");
            assert!(
                !text.contains("MfKQ") && !text.contains('%') && !text.contains("c2hv"),
                "{text}"
            );
        }
    }
}
