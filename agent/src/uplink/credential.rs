use std::fmt;
use std::io;

/// A secret that never shows in logs: a join token or a host credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret, without surrounding white space.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself: for the wire and the credential file only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the host's credential is kept, and the join token to get one with.
pub trait Credentials: Send {
    /// The credential, if the host has enrolled before.
    fn credential(&self) -> io::Result<Option<Secret>>;

    /// Keeps the credential that enrolment gave. It is given only once: even after an error,
    /// [`credential`](Self::credential) gives it as long as the process lives.
    fn keep(&mut self, credential: &Secret) -> io::Result<()>;

    /// The join token, read again at every attempt so that it may be put in place later.
    fn join_token(&self) -> io::Result<Option<Secret>>;
}

/// Credentials that live as long as the process: for simulated hosts and tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryCredentials {
    /// The credential, once there is one.
    pub credential: Option<Secret>,
    /// The join token.
    pub join_token: Option<Secret>,
}

impl Credentials for MemoryCredentials {
    fn credential(&self) -> io::Result<Option<Secret>> {
        Ok(self.credential.clone())
    }

    fn keep(&mut self, credential: &Secret) -> io::Result<()> {
        self.credential = Some(credential.clone());
        Ok(())
    }

    fn join_token(&self) -> io::Result<Option<Secret>> {
        Ok(self.join_token.clone())
    }
}
