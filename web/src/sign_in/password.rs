//! Passwords: argon2id, checked off the runtime's threads and never many at once.

use std::sync::OnceLock;

use argon2::{Argon2, PasswordHasher, PasswordVerifier};

use crate::{Error, WebState};

/// The argon2id PHC string of a password: the crate's parameters, which OWASP recommends, and a random salt.
pub fn hash(password: &str) -> Result<String, Error> {
    match Argon2::default().hash_password(password.as_bytes()) {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => Err(Error::Internal(Box::new(error))),
    }
}

/// Whether the password fits; takes as long when there is no such user.
pub(crate) async fn check(
    state: &WebState,
    password: String,
    known: Option<String>,
) -> Result<bool, Error> {
    let turn = state.password_checks().acquire().await;
    let _turn = turn.map_err(|closed| Error::Internal(Box::new(closed)))?;
    tokio::task::spawn_blocking(move || {
        let fits = verify(&password, known.as_deref().unwrap_or_else(|| nobody()));
        fits && known.is_some()
    })
    .await
    .map_err(|failed| Error::Internal(Box::new(failed)))
}

fn verify(password: &str, hash: &str) -> bool {
    Argon2::default().verify_password(password.as_bytes(), hash).is_ok()
}

/// A hash that no password is compared with in earnest.
fn nobody() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash("nobody").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a hash fits its password, no other, and is argon2id.
    #[test]
    fn hashes_fit_their_password_only() {
        let phc = hash("correct horse").unwrap();
        assert!(phc.starts_with("$argon2id$"), "{phc}");
        assert!(verify("correct horse", &phc));
        assert!(!verify("wrong horse", &phc));
        assert!(!verify("correct horse", "not a hash"));
    }
}
