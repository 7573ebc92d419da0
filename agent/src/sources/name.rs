use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The NTP port.
const NTP_PORT: u16 = 123;
/// Longest DNS name.
const MAX_HOST: usize = 253;

/// A server as people write it: `host`, `host:port`, an IPv4 address, or an IPv6 address, in brackets
/// if a port follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName {
    host: String,
    port: u16,
}

/// Not the name of a server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("\"{0}\" is not a server such as ntp.example.net, 192.0.2.1:123 or [2001:db8::1]:123")]
pub struct ParseNameError(String);

impl ServerName {
    /// A host with a port of its own.
    pub fn new(host: &str, port: u16) -> Result<Self, ParseNameError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let plausible = !bare.is_empty()
            && bare.len() <= MAX_HOST
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        let host = match bare.parse::<IpAddr>() {
            // One address has one name, however it is written.
            Ok(address) => address.to_string(),
            Err(_) if plausible => bare.to_owned(),
            Err(_) => return Err(ParseNameError(host.to_owned())),
        };
        if port == 0 {
            return Err(ParseNameError(host));
        }
        Ok(Self { host, port })
    }

    /// What to look up.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for ServerName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let text = text.trim();
        let whole = |_| ParseNameError(text.to_owned());
        if text.parse::<Ipv6Addr>().is_ok() {
            return Self::new(text, NTP_PORT);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::new(&address.ip().to_string(), address.port()).map_err(whole);
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => {
                let port = port.parse().map_err(|_| ParseNameError(text.to_owned()))?;
                Self::new(host, port).map_err(whole)
            }
            _ => Self::new(text, NTP_PORT).map_err(whole),
        }
    }
}

impl TryFrom<String> for ServerName {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.to_string()
    }
}

/// As configured; the usual port is left out.
impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match (*port == NTP_PORT, host.contains(':')) {
            (true, _) => f.write_str(host),
            (false, true) => write!(f, "[{host}]:{port}"),
            (false, false) => write!(f, "{host}:{port}"),
        }
    }
}
