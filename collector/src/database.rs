//! The database of this collector: an existing one by URL, or the private cluster.

use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use store::Store;

use crate::config::Config;
use crate::postgres::{self, Embedded};

/// Connections of an administration command.
const COMMAND_CONNECTIONS: u32 = 2;

/// Connections of the pages; one of them listens for what is new.
const PAGES: u32 = 5;
/// Longest query of a page: whoever waits for it has gone by then.
const LONGEST_OF_PAGE: Duration = Duration::from_secs(15);
/// Connections of ingest, besides its writers: who an agent is, and whether its credential still holds. Strangers
/// take four of them at most.
const ADMISSION: u32 = 6;
/// What judging, notifying and housekeeping need at the least.
const LEAST: u32 = 5;

/// An open database.
#[derive(Debug)]
pub struct Database {
    /// The handle on it.
    pub store: Store,
    /// Connections of its own for ingest: whatever else is slow, reports are stored.
    pub ingest: Store,
    /// Connections of their own for the pages: however many are asked for, nothing else waits.
    pub pages: Store,
    /// How it was reached: for programs that connect by themselves.
    pub options: PgConnectOptions,
    /// The private cluster, if this process runs it.
    pub embedded: Option<Embedded>,
}

impl Database {
    /// For a server: starts the private cluster unless a URL is set, and brings the schema up to date.
    ///
    /// # Errors
    /// The database cannot be started, reached or migrated.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Self::open_as_it_is(config).await?.migrated().await
    }

    /// As [`Database::open`], with whatever schema is there.
    ///
    /// # Errors
    /// The database cannot be started or reached.
    pub async fn open_as_it_is(config: &Config) -> anyhow::Result<Self> {
        let (options, embedded) = match external(config)? {
            Some(options) => (options, None),
            None => {
                let bin = config.database.postgres_bin.as_deref();
                let listen = config.database.listen;
                let embedded = Embedded::start_listening(&config.data_dir(), bin, listen).await?;
                (embedded.connect_options(), Some(embedded))
            }
        };
        let ingest = u32::from(config.ingest.writers.get()) + ADMISSION;
        let rest = config.database.connections.get().saturating_sub(ingest + PAGES).max(LEAST);
        Self::connect(options, embedded, rest, ingest).await
    }

    /// Brings the schema up to date; closes everything if that cannot be.
    async fn migrated(self) -> anyhow::Result<Self> {
        match migrate(&self.store).await {
            Ok(()) => Ok(self),
            Err(error) => {
                self.close().await;
                Err(error)
            }
        }
    }

    /// For a command: uses the cluster that a running server has, else as [`Database::open`].
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn open_for_command(config: &Config) -> anyhow::Result<Self> {
        if external(config)?.is_none()
            && let Some(options) = postgres::served_by_another(&config.data_dir())?
        {
            return Self::connect(options, None, COMMAND_CONNECTIONS, 1).await;
        }
        Self::open(config).await
    }

    async fn connect(
        options: PgConnectOptions,
        embedded: Option<Embedded>,
        connections: u32,
        ingest: u32,
    ) -> anyhow::Result<Self> {
        match Store::connect(options.clone(), connections).await {
            Ok(store) => {
                let ingest = store.apart(ingest, None);
                let pages = store.apart(PAGES, Some(LONGEST_OF_PAGE));
                Ok(Self { store, ingest, pages, options, embedded })
            }
            Err(error) => {
                if let Some(embedded) = embedded {
                    embedded.stop().await;
                }
                Err(error).context("cannot connect to the database")
            }
        }
    }

    /// Ends every connection, then the private cluster.
    pub async fn close(self) {
        for store in [self.pages, self.ingest, self.store] {
            store.close().await;
        }
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Brings the schema up to date, or says why not in words for an operator.
///
/// # Errors
/// The database was written by a newer version, or the database does not answer.
pub async fn migrate(store: &Store) -> anyhow::Result<()> {
    match store.migrate().await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(unknown)) => bail!(
            "the database was written by a newer truechimer: it has schema version {unknown}, this \
             program ({}) knows up to {}. Install the newer program again, or restore a backup made \
             before the change into an empty database (`truechimer db restore`)",
            env!("CARGO_PKG_VERSION"),
            store::newest_schema(),
        ),
        Err(error) => Err(error).context("cannot bring the schema up to date"),
    }
}

/// Refuses to begin a private cluster where there is none.
///
/// # Errors
/// No URL is configured, and the data directory has no cluster.
pub fn must_exist(config: &Config) -> anyhow::Result<()> {
    let folder = config.data_dir();
    if external(config)?.is_none() && !postgres::exists(&folder)? {
        bail!(
            "there is no database in {}: say where it is with --data-dir (or --database-url), or make one with \
             `truechimer serve`",
            folder.display()
        );
    }
    Ok(())
}

/// How to reach the database that is configured; `None`: the private cluster.
///
/// # Errors
/// The URL cannot be read or understood.
pub fn external(config: &Config) -> anyhow::Result<Option<PgConnectOptions>> {
    let url = match (&config.database.url, &config.database.url_file) {
        (Some(_), Some(_)) => bail!("[database] has both url and url-file: remove one"),
        (Some(url), None) => url.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read [database] url-file {}", path.display()))?,
        (None, None) => return Ok(None),
    };
    // The URL itself stays out of the message: it may hold a password.
    let url = url.trim();
    let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    let options = url.parse::<PgConnectOptions>().ok().filter(|_| known);
    let options = options.context("[database] url is not a postgres:// URL")?;
    Ok(Some(options.application_name("truechimer")))
}
