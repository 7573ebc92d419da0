//! `[database]` and `[retention]`: where data is kept and for how long.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use timebase::Span;

use super::span;

/// Which database.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Database {
    /// An existing Postgres; unset: the private cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// File that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// Folder with the server binaries of the private cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres_bin: Option<PathBuf>,
    /// Most connections opened.
    pub connections: NonZeroU32,
}

/// What is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Retention {
    /// Age at which samples are dropped.
    #[serde(with = "span")]
    pub samples: Span,
}

impl Retention {
    /// Refuses to drop what agents may still deliver.
    ///
    /// # Errors
    /// Retention is too short.
    pub fn check(&self) -> anyhow::Result<()> {
        const LEAST: Span = Span::from_secs(8 * 86_400);
        anyhow::ensure!(
            self.samples >= LEAST,
            "[retention] samples must be at least 8 d: an agent may deliver reports 7 d late"
        );
        Ok(())
    }
}

/// Without the URL: it may hold a password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.url.as_ref().map(|_| "…"))
            .field("url_file", &self.url_file)
            .field("postgres_bin", &self.postgres_bin)
            .field("connections", &self.connections)
            .finish()
    }
}
