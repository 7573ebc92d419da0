//! `truechimer db`: one file for each command.

pub mod backup;
mod checksum;
mod progress;
pub mod restore;
pub mod status;
pub mod trust_clock;
pub mod upgrade;
pub mod vacuum;

use std::fmt::Write;

use store::Store;

use crate::config::Config;
use crate::output::say;
use crate::{database, postgres};

/// Prints the URL that psql takes, for the owner or for the role that only reads.
///
/// # Errors
/// The configured URL cannot be read.
pub fn url(config: &Config, reader: bool) -> anyhow::Result<()> {
    if let Some(options) = database::external(config)? {
        let role = if reader { postgres::READER } else { options.get_username() };
        let name = options.get_database().unwrap_or(role);
        let host = encoded(options.get_host());
        say!("postgresql://{role}@{host}:{}/{}", options.get_port(), encoded(name));
        return Ok(());
    }
    let role = if reader { postgres::READER } else { postgres::OWNER };
    say!("{}", by_socket(config, role)?);
    Ok(())
}

/// Major version of the server.
async fn server_major(store: &Store) -> anyhow::Result<u32> {
    let version = store.server_version().await?;
    Ok(version / 10_000)
}

/// The URL of the private cluster's socket.
pub(super) fn by_socket(config: &Config, role: &str) -> anyhow::Result<String> {
    let (socket, port) = postgres::socket(&config.data_dir())?;
    let (socket, role) = (encoded(&socket.to_string_lossy()), encoded(role));
    Ok(format!("postgresql:///{}?host={socket}&port={port}&user={role}", postgres::OWNER))
}

/// Percent-encoded (RFC 3986 unreserved characters stay).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
