//! `[database]` and `[retention]`: where data is kept and for how long.

use std::net::SocketAddr;
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
    /// Where SQL users connect to the private cluster by TCP; unset: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Whether that may be beyond loopback, without TLS.
    #[serde(default)]
    pub allow_plain: bool,
    /// Most connections opened.
    pub connections: NonZeroU32,
}

impl Database {
    /// Refuses a listener that the private cluster cannot have, or that the network could read.
    ///
    /// # Errors
    /// Two settings contradict each other.
    pub fn check(&self) -> anyhow::Result<()> {
        let Some(listen) = self.listen else { return Ok(()) };
        anyhow::ensure!(
            self.url.is_none() && self.url_file.is_none(),
            "[database] listen is for the private cluster: remove it, or url and url-file"
        );
        anyhow::ensure!(listen.port() != 0, "[database] listen needs a port, such as 5433");
        anyhow::ensure!(
            listen.ip().is_loopback() || self.allow_plain,
            "[database] listen = \"{listen}\" is beyond loopback, and the private cluster has no TLS: \
             what people read would cross the network in clear. Use a loopback address with a tunnel, \
             or set allow-plain = true"
        );
        Ok(())
    }
}

/// What is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Retention {
    /// Age at which an hour of samples is repacked.
    #[serde(with = "span")]
    pub raw: Span,
    /// Age at which samples are dropped.
    #[serde(with = "span")]
    pub samples: Span,
    /// Age at which rollups of a minute are dropped.
    #[serde(with = "span")]
    pub minutes: Span,
    /// Age at which rollups of an hour are dropped.
    #[serde(with = "span")]
    pub hours: Span,
    /// Age at which events are dropped.
    #[serde(with = "span")]
    pub events: Span,
    /// Age since its end at which an alert is dropped, with its history and messages.
    #[serde(with = "span")]
    pub alerts: Span,
    /// Age at which log lines that people loaded are dropped.
    #[serde(with = "span")]
    pub log_lines: Span,
}

impl Retention {
    /// As the store takes it.
    pub fn tiers(&self) -> store::tiers::Keep {
        store::tiers::Keep {
            raw: self.raw,
            samples: self.samples,
            minutes: self.minutes,
            hours: self.hours,
            events: self.events,
        }
    }

    /// Refuses to drop what agents may still deliver, or what may still be told to somebody.
    ///
    /// # Errors
    /// A retention is too short.
    pub fn check(&self) -> anyhow::Result<()> {
        const DAY: Span = Span::from_secs(86_400);
        for (key, keep) in [
            ("samples", self.samples),
            ("minutes", self.minutes),
            ("hours", self.hours),
            ("events", self.events),
        ] {
            anyhow::ensure!(
                keep >= DAY.times(8),
                "[retention] {key} must be at least 8 d: an agent may deliver reports 7 d late"
            );
        }
        anyhow::ensure!(
            self.events >= self.samples,
            "[retention] events must be at least as long as samples: they tell between which samples the host slept"
        );
        anyhow::ensure!(
            self.raw >= Span::from_secs(600) && self.raw <= DAY,
            "[retention] raw must be from 10 min to 1 d: reports come minutes late as a rule"
        );
        anyhow::ensure!(
            self.alerts >= DAY.times(2),
            "[retention] alerts must be at least 2 d: a message may be tried for a day"
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
            .field("listen", &self.listen)
            .field("allow_plain", &self.allow_plain)
            .field("connections", &self.connections)
            .finish()
    }
}
