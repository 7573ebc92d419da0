//! `truechimer db`.

use std::fmt::Write;

use crate::config::Config;
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
        println!("postgresql://{role}@{host}:{}/{}", options.get_port(), encoded(name));
        return Ok(());
    }
    let role = if reader { postgres::READER } else { postgres::OWNER };
    let socket = postgres::socket_folder(&config.data_dir())?;
    let socket = encoded(&socket.to_string_lossy());
    println!("postgresql:///{}?host={socket}&user={role}", postgres::OWNER);
    Ok(())
}

/// Percent-encoded (RFC 3986 unreserved characters stay).
fn encoded(text: &str) -> String {
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
