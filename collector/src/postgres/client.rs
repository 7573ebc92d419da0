//! pg_dump and pg_restore, with the password in their environment and never among their arguments.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::process::Command;

use super::{PostgresError, binaries};

/// The client programs of one installation.
#[derive(Clone, Debug)]
pub struct Client {
    folder: PathBuf,
}

impl Client {
    /// Those of the server's own major version if they are there, else the newest.
    ///
    /// # Errors
    /// There are none.
    pub fn find(named: Option<&Path>, server_major: Option<u32>) -> Result<Self, PostgresError> {
        Ok(Self { folder: binaries::find_client(named, server_major)? })
    }

    /// One of the programs, told how to reach the database if it is to.
    pub fn command(&self, program: &str, database: Option<&PgConnectOptions>) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("LC_ALL", "C").kill_on_drop(true);
        for (name, value) in database.into_iter().flat_map(environment) {
            command.env(name, value);
        }
        command
    }
}

/// What libpq reads in place of a URL.
fn environment(options: &PgConnectOptions) -> Vec<(&'static str, String)> {
    let host = match options.get_socket() {
        Some(socket) => socket.to_string_lossy().into_owned(),
        None => options.get_host().to_owned(),
    };
    let mode = match options.get_ssl_mode() {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    };
    let mut set = vec![
        ("PGHOST", host),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGDATABASE", options.get_database().unwrap_or(options.get_username()).to_owned()),
        ("PGSSLMODE", mode.to_owned()),
        ("PGAPPNAME", "truechimer".to_owned()),
    ];
    let url = options.to_url_lossy();
    if let Some(password) = url.password() {
        set.push(("PGPASSWORD", decoded(password)));
    }
    for (key, value) in url.query_pairs() {
        let name = match key.as_ref() {
            "sslrootcert" => "PGSSLROOTCERT",
            "sslcert" => "PGSSLCERT",
            "sslkey" => "PGSSLKEY",
            _ => continue,
        };
        // So sqlx words a path; a certificate given as text has no place in libpq's environment.
        if let Some(path) = value.strip_prefix("file: ") {
            set.push((name, path.to_owned()));
        }
    }
    set
}

/// Percent-decoded.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        let pair = [rest.next(), rest.next()].map(|digit| char::from(digit?).to_digit(16));
        match (byte, pair) {
            (b'%', [Some(high), Some(low)]) => {
                out.push((high * 16 + low) as u8);
                bytes = rest;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that libpq's programs get from a URL what we connect with ourselves, whatever characters
    /// the password has.
    #[test]
    fn url_becomes_environment() {
        let url = "postgres://ann:p%40s%3As%25%C3%A9@db.example:6432/fleet?sslmode=verify-full&sslrootcert=/ca.pem";
        let set = environment(&url.parse().unwrap());
        let value = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("PGPASSWORD"), Some("p@s:s%é"));
        assert_eq!(value("PGHOST"), Some("db.example"));
        assert_eq!(value("PGPORT"), Some("6432"));
        assert_eq!(value("PGDATABASE"), Some("fleet"));
        assert_eq!(value("PGSSLMODE"), Some("verify-full"));
        assert_eq!(value("PGSSLROOTCERT"), Some("/ca.pem"));
    }
}
