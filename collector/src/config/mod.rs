//! The settings of one collector, from one TOML file over the compiled-in defaults.
//!
//! `collector.default.toml` documents every key and *is* the default; the user's file overrides it
//! table by table, lists as a whole. A key that nobody knows is an error that names the key and its
//! line. One file here per section.

pub mod database;
pub mod ingest;
pub mod judge;
pub mod listen;
mod load;
pub mod log;
pub mod notify;
pub mod span;
pub mod sql;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use timebase::Span;

pub use load::ConfigError;

/// The documented sample file, which is also the compiled-in default.
pub const DEFAULT: &str = include_str!("../../collector.default.toml");

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where the collector keeps its files; see [`Config::data_dir`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// How often the rules look at the fleet.
    #[serde(with = "span")]
    pub evaluate_every: Span,
    /// Which database.
    pub database: database::Database,
    /// Where agents connect.
    pub grpc: listen::Grpc,
    /// Where people connect.
    pub web: listen::Web,
    /// Metrics and health.
    pub observe: listen::Observe,
    /// What a host may send.
    pub ingest: ingest::Ingest,
    /// What is kept.
    pub retention: database::Retention,
    /// What SQL users may take.
    pub sql: sql::Sql,
    /// What the collector says of itself.
    pub log: log::Log,
    /// The drift rule.
    pub drift: judge::Drift,
    /// The silence rule.
    pub silence: judge::Silence,
    /// Token-skew policies.
    #[serde(default)]
    pub token_skew: Vec<judge::TokenSkew>,
    /// Log-skew policies.
    #[serde(default)]
    pub log_skew: Vec<judge::LogSkew>,
    /// Where alerts go.
    #[serde(default)]
    pub webhook: Vec<notify::Webhook>,
}

impl Config {
    /// The defaults.
    pub fn defaults() -> Self {
        load::merged("").expect("invariant: the compiled-in default is valid")
    }

    /// The defaults overridden by `text`.
    ///
    /// # Errors
    /// The text is not TOML, has an unknown key or a value of the wrong kind.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        load::merged(text)
    }

    /// The defaults overridden by the file, if one is named.
    ///
    /// # Errors
    /// The file cannot be read, or as [`Config::parse`].
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Ok(Self::defaults()) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| error.in_file(path))
    }

    /// The data directory: as set, or where the user running this keeps state.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }

    /// What one key alone cannot show to be wrong.
    ///
    /// # Errors
    /// Two settings contradict each other; the message names both.
    pub fn check(&self) -> anyhow::Result<()> {
        crate::database::external(self)?;
        self.database.check()?;
        judge::policies(self)?;
        crate::notify::check(self)?;
        self.grpc.check()?;
        self.web.check()?;
        self.ingest.check()?;
        self.retention.check()
    }

    /// The effective settings as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: every setting is a TOML value")
    }
}

fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/truechimer".into();
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).unwrap_or_else(|| "/var/tmp".into()).join("truechimer")
}
