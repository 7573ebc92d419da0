use std::ops::RangeInclusive;
use std::path::PathBuf;

use agent_core::{AuthConfig, SourceConfig, SourceOptions};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::ServerName;
use crate::config::Smear;
use crate::keys::Keys;

/// Addresses taken from one pool name, as other NTP clients do.
const POOL_ADDRESSES: usize = 4;
/// Most addresses of one pool.
pub(super) const MAX_ADDRESSES: usize = 16;
/// Poll exponents the engine takes: 62.5 ms to 36 h.
pub const POLL: RangeInclusive<i8> = -4..=17;
/// Where servers exchange keys (RFC 8915 section 6).
const NTS_PORT: u16 = 4460;

/// One server or pool to ask, and how: a `[[ntp.server]]` table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented once, in agent.default.toml")]
pub struct Server {
    pub name: ServerName,
    #[serde(default)]
    pub pool: bool,
    #[serde(default = "pool_addresses")]
    pub addresses: usize,
    /// As `[ntp]` says, if not given.
    #[serde(default, deserialize_with = "poll", skip_serializing_if = "Option::is_none")]
    pub min_poll: Option<i8>,
    /// As `[ntp]` says, if not given.
    #[serde(default, deserialize_with = "poll", skip_serializing_if = "Option::is_none")]
    pub max_poll: Option<i8>,
    /// As `[ntp]` says, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iburst: Option<bool>,
    #[serde(default)]
    pub burst: bool,
    #[serde(default = "yes")]
    pub interleaved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    #[serde(default)]
    pub nts: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nts_ca_file: Option<PathBuf>,
    #[serde(default = "nts_port")]
    pub nts_port: u16,
    #[serde(default)]
    pub prefer: bool,
    #[serde(default)]
    pub trust: bool,
    #[serde(default)]
    pub require: bool,
    #[serde(default)]
    pub noselect: bool,
    #[serde(default)]
    pub offline: bool,
    #[serde(default)]
    pub smear: Smear,
}

impl Server {
    /// A server without options.
    pub fn one(name: ServerName) -> Self {
        Self {
            name,
            pool: false,
            addresses: POOL_ADDRESSES,
            min_poll: None,
            max_poll: None,
            iburst: None,
            burst: false,
            interleaved: true,
            key: None,
            nts: false,
            nts_ca_file: None,
            nts_port: NTS_PORT,
            prefer: false,
            trust: false,
            require: false,
            noselect: false,
            offline: false,
            smear: Smear::default(),
        }
    }

    /// How many of its addresses to use.
    pub fn sources(&self) -> usize {
        if self.pool { self.addresses } else { 1 }
    }

    /// What is wrong with these options together.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        match (self.min_poll, self.max_poll) {
            (Some(min), Some(max)) if min > max => return Some("min-poll is above max-poll"),
            _ => {}
        }
        if self.nts && self.key.is_some() {
            return Some("key and nts exclude each other");
        }
        if self.nts_ca_file.is_some() && !self.nts {
            return Some("nts-ca-file needs nts = true");
        }
        if self.noselect && (self.prefer || self.require || self.trust) {
            return Some("noselect excludes prefer, require and trust");
        }
        (!(1..=MAX_ADDRESSES).contains(&self.addresses)).then_some("addresses must be from 1 to 16")
    }
}

/// How servers are asked that say nothing else themselves.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// Shortest poll interval, log2 seconds.
    pub min_poll: i8,
    /// Longest poll interval, log2 seconds.
    pub max_poll: i8,
    /// Whether to start with a burst.
    pub iburst: bool,
    /// The keys that servers name.
    pub keys: Keys,
}

impl Asking {
    pub(crate) fn source(&self, server: &Server) -> SourceConfig {
        let min = server.min_poll.or(server.max_poll.map(|max| max.min(self.min_poll)));
        let min_poll_log2 = min.unwrap_or(self.min_poll);
        SourceConfig {
            name: server.name.to_string(),
            min_poll_log2,
            max_poll_log2: server.max_poll.unwrap_or(self.max_poll).max(min_poll_log2),
            iburst: server.iburst.unwrap_or(self.iburst),
            burst: server.burst,
            interleaved: server.interleaved,
            auth: match server.key.and_then(|id| self.keys.get(&id)) {
                _ if server.nts => AuthConfig::Nts,
                Some(key) => AuthConfig::Key(key.clone()),
                None => AuthConfig::None,
            },
            options: SourceOptions {
                noselect: server.noselect,
                prefer: server.prefer,
                trust: server.trust,
                require: server.require,
            },
        }
    }
}

/// Reads a list of tables; an error points to the table.
pub(crate) fn checked<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Server>, D::Error> {
    #[derive(Deserialize)]
    struct Checked(#[serde(deserialize_with = "one")] Server);

    fn one<'de, D: Deserializer<'de>>(from: D) -> Result<Server, D::Error> {
        let server = Server::deserialize(from)?;
        match server.contradiction() {
            Some(problem) => Err(D::Error::custom(format!("{}: {problem}", server.name))),
            None => Ok(server),
        }
    }

    let checked = Vec::<Checked>::deserialize(from)?;
    Ok(checked.into_iter().map(|Checked(server)| server).collect())
}

fn poll<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i8>, D::Error> {
    let exponent = i8::deserialize(from)?;
    if POLL.contains(&exponent) {
        Ok(Some(exponent))
    } else {
        let (least, most) = (POLL.start(), POLL.end());
        Err(D::Error::custom(format!("{exponent} is not from {least} to {most}")))
    }
}

fn pool_addresses() -> usize {
    POOL_ADDRESSES
}

fn nts_port() -> u16 {
    NTS_PORT
}

fn yes() -> bool {
    true
}
