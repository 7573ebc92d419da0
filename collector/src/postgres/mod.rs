//! A private Postgres cluster in the data directory, run from installed server binaries.
//!
//! Reachable by a unix socket only, unless a listener is asked for; run by an unprivileged user even when we are root, and durable:
//! fsync is on, a cluster orphaned by our own death is adopted, one that died is recovered. What this
//! module refuses to do: download binaries, let anybody but SQL users in by TCP.
//!
//! [`binaries`] finds the server, [`layout`] knows the files and who owns them, [`cluster`] makes the
//! cluster and its settings, [`upgrade`] moves it to another version, [`client`] runs pg_dump and
//! pg_restore, [`process`] starts and stops the server, [`supervise`] keeps it alive.

mod binaries;
mod by_dump;
pub mod client;
mod cluster;
mod layout;
mod lock;
mod process;
mod supervise;
pub mod upgrade;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use sqlx::postgres::PgConnectOptions;
use thiserror::Error;
use tokio::sync::watch;

use layout::Layout;
use supervise::Supervisor;

/// Name of the database and of the role that owns it.
pub const OWNER: &str = "truechimer";
/// The role for people who read.
pub const READER: &str = "fleet_reader";

/// Why there is no embedded database.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// No server binaries.
    #[error(
        "no Postgres server binaries found (looked at {looked}). Install them (Debian, Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server), name their folder in `[database] postgres-bin`, or use an existing server with `[database] url`"
    )]
    NoBinaries {
        /// Where they were looked for.
        looked: String,
    },
    /// The cluster was made by another major version.
    #[error(
        "the cluster in {} was made by Postgres {needed}, but the server binaries found are of {found}. Nothing was changed. Either go on with {needed}: `apt install postgresql-{needed}`, or name its folder in `[database] postgres-bin`. Or move to another version, which needs the binaries of both: `apt install postgresql-{needed}`, then `truechimer db backup FILE` and `truechimer db upgrade`",
        data.display()
    )]
    MajorVersion {
        /// The cluster.
        data: PathBuf,
        /// Its version.
        needed: u32,
        /// Versions that are installed.
        found: String,
    },
    /// No pg_dump and pg_restore.
    #[error(
        "pg_dump and pg_restore were not found (looked at {looked}). Install them (Debian, Ubuntu: apt install postgresql-client; Fedora: dnf install postgresql)"
    )]
    NoClient {
        /// Where they were looked for.
        looked: String,
    },
    /// Nothing to upgrade, or nothing to upgrade to.
    #[error("{0}")]
    NoUpgrade(String),
    /// Another process serves from this data directory.
    #[error("the database in {} is in use by another truechimer{}", folder.display(), pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    InUse {
        /// The folder of the cluster.
        folder: PathBuf,
        /// Who, if it says so.
        pid: Option<i32>,
    },
    /// The unprivileged user cannot reach the folder.
    #[error("user {user}, who runs Postgres, cannot enter {}: choose another --data-dir, or allow it (chmod o+x)", folder.display())]
    Unreachable {
        /// Who.
        user: String,
        /// Which folder stops it.
        folder: PathBuf,
    },
    /// No user to run the server as.
    #[error("Postgres does not run as {who}: {why}")]
    NoUser {
        /// Which user.
        who: String,
        /// What to do.
        why: &'static str,
    },
    /// A server program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// initdb or postgres.
        program: &'static str,
        /// Its last words.
        output: String,
    },
    /// Not ready in time.
    #[error("Postgres was not ready after {seconds} s; last answer: {last}; its log is {}", log.display())]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// The last error at connecting.
        last: String,
        /// Where to read more.
        log: PathBuf,
    },
    /// A file or folder.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database answered with an error.
    #[error("the embedded database: {0}")]
    Database(#[from] sqlx::Error),
}

impl PostgresError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }
}

/// A running private cluster. Stop it with [`Embedded::stop`]; if this process dies instead, the server
/// lives on and the next start adopts it.
#[derive(Debug)]
pub struct Embedded {
    supervisor: Supervisor,
    options: PgConnectOptions,
    _lock: Flock<std::fs::File>,
}

impl Embedded {
    /// Makes the cluster if there is none, starts the server (or adopts one that we left running), and
    /// returns when it answers.
    ///
    /// # Errors
    /// Every [`PostgresError`]; each says what to do.
    pub async fn start(data_dir: &Path, bin: Option<&Path>) -> Result<Self, PostgresError> {
        Self::start_listening(data_dir, bin, None).await
    }

    /// As [`Embedded::start`], with a TCP listener for SQL users.
    ///
    /// # Errors
    /// As [`Embedded::start`].
    pub async fn start_listening(
        data_dir: &Path,
        bin: Option<&Path>,
        listen: Option<SocketAddr>,
    ) -> Result<Self, PostgresError> {
        let layout = Layout::prepare(data_dir, listen)?;
        let lock = lock::take(&layout).await?;
        upgrade::finish(&layout)?;
        let binaries = binaries::find(bin, cluster::major(&layout)?, &layout.data)?;
        cluster::create_if_missing(&layout, &binaries).await?;
        cluster::write_settings(&layout, &binaries).await?;
        let process = process::start_or_adopt(&layout, &binaries).await?;
        let options = layout.connect_options();
        store::ensure_database(&options, OWNER).await?;
        let supervisor = Supervisor::watch(process, layout, binaries);
        Ok(Self { supervisor, options, _lock: lock })
    }

    /// How to connect as the owner.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Whether the server is up; changes when it dies and when it is back.
    pub fn up(&self) -> watch::Receiver<bool> {
        self.supervisor.up()
    }

    /// The postmaster's process id, while it is up.
    pub fn pid(&self) -> Option<i32> {
        self.supervisor.pid()
    }

    /// Stops the server: connections are ended, everything is on disk.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}

/// Everything of `data_dir`'s cluster: maybe on a disk of its own.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

/// The folder of the unix socket of `data_dir`'s cluster.
///
/// # Errors
/// There is no cluster yet.
pub fn socket_folder(data_dir: &Path) -> Result<PathBuf, PostgresError> {
    Ok(socket(data_dir)?.0)
}

/// How to reach the cluster of `data_dir` by its socket, whether it runs or not: folder and port.
///
/// # Errors
/// There is no cluster yet.
pub fn socket(data_dir: &Path) -> Result<(PathBuf, u16), PostgresError> {
    let missing = || std::io::Error::other("no embedded database here yet: run `truechimer serve`");
    let layout = Layout::existing(data_dir)?.map(Layout::into_running);
    let layout = layout.ok_or_else(|| PostgresError::file("cannot find", data_dir)(missing()))?;
    Ok((layout.socket.clone(), layout.port()))
}

/// Whether `data_dir` has a cluster, or one whose upgrade is to be finished.
///
/// # Errors
/// Its files cannot be read.
pub fn exists(data_dir: &Path) -> Result<bool, PostgresError> {
    let Some(layout) = Layout::existing(data_dir)? else { return Ok(false) };
    Ok(upgrade::is_unfinished(&layout) || cluster::major(&layout)?.is_some())
}

/// How to reach the cluster of `data_dir` if another process serves it at this moment.
///
/// # Errors
/// The lock file cannot be read.
pub fn served_by_another(data_dir: &Path) -> Result<Option<PgConnectOptions>, PostgresError> {
    let Some(layout) = Layout::existing(data_dir)? else { return Ok(None) };
    Ok(lock::is_taken(&layout)?.then(|| layout.into_running().connect_options()))
}
