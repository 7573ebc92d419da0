//! `truechimer db backup`.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use risk::phrase::size;
use sqlx::postgres::PgConnectOptions;
use store::Store;
use tokio::time::Instant;

use super::{checksum, progress};
use crate::clock;
use crate::config::Config;
use crate::postgres::client::Client;

/// Dumps the database, as of one moment, while everything goes on; into a file that is not there until it
/// is whole, with its checksum beside it.
///
/// # Errors
/// A file exists or cannot be written, pg_dump is missing or fails: nothing is left then.
pub async fn run(
    config: &Config,
    store: &Store,
    options: &PgConnectOptions,
    target: &Path,
) -> anyhow::Result<()> {
    let made_at = clock::now();
    let target = file_name(target);
    let beside = checksum::beside(&target);
    for file in [&target, &beside] {
        if file.exists() {
            bail!("{} is there already; a backup never overwrites", file.display());
        }
    }
    let major = super::server_major(store).await?;
    let client = Client::find(config.database.postgres_bin.as_deref(), Some(major))?;
    let draft = Draft::create(&target)?;
    let started = Instant::now();
    let mut dump = client.command("pg_dump", Some(options));
    // Who may use the server's own functions belongs to the server (`shut_functions`), not into a backup.
    dump.arg("--exclude-schema=pg_catalog");
    dump.args(["--format=custom", "--compress=1", "--no-password", "--file"]).arg(&draft.path);
    let watched = draft.path.clone();
    let so_far = move |_| std::fs::metadata(&watched).map_or(0, |file| file.len());
    progress::run(dump, "pg_dump", |pid| format!("{} written", size(so_far(pid)))).await?;
    let sum = Draft::create(&beside)?;
    std::fs::write(&sum.path, checksum::line(&checksum::of(&draft.path).await?, &target))
        .with_context(|| format!("cannot write {}", sum.path.display()))?;
    // In this order: killed in between, what is there is a whole backup.
    let bytes = draft.place(&target)?;
    sum.place(&beside)?;
    let took = started.elapsed();
    let file = std::path::absolute(&target).unwrap_or_else(|_| target.clone());
    let took_ms = took.as_millis().try_into().unwrap_or(i64::MAX);
    let bytes_i64 = bytes.try_into().unwrap_or(i64::MAX);
    // The backup is whole; only `db status` would not know of it.
    if let Err(error) =
        store.note_backup(made_at, took_ms, bytes_i64, &file.to_string_lossy()).await
    {
        eprintln!("warning: the backup could not be noted in the database: {error}");
    }
    eprintln!(
        "{}: {} in {:.1} s, of Postgres {major}. It holds hashes of credentials and passwords: keep it \
         like the database. Its SHA-256 is in {}: keep the two together.\nTo restore: truechimer db restore {} with an empty --data-dir, or with the \
         --database-url of an empty database",
        target.display(),
        size(bytes),
        took.as_secs_f64(),
        beside.display(),
        file.display(),
    );
    Ok(())
}

/// In a folder, a name of the moment.
fn file_name(target: &Path) -> PathBuf {
    if !target.is_dir() {
        return target.to_owned();
    }
    let now = store::time::to_jiff(clock::now());
    target.join(format!("truechimer-{}.dump", now.strftime("%Y%m%dT%H%M%SZ")))
}

/// A file while it is being written, removed unless it is placed.
struct Draft {
    path: PathBuf,
    placed: bool,
}

impl Draft {
    fn create(target: &Path) -> anyhow::Result<Self> {
        let mut name = target.file_name().context("a file name is needed")?.to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = target.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, placed: false })
    }

    /// On disk first, then under its name; its size.
    fn place(mut self, target: &Path) -> anyhow::Result<u64> {
        let file = std::fs::File::open(&self.path)?;
        file.sync_all().context("cannot bring the backup to disk")?;
        // Unlike a renaming, a link does not replace what somebody else put there meanwhile.
        match std::fs::hard_link(&self.path, target) {
            Ok(()) => std::fs::remove_file(&self.path)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("{} has appeared meanwhile; a backup never overwrites", target.display())
            }
            Err(_) => std::fs::rename(&self.path, target)
                .with_context(|| format!("cannot make {}", target.display()))?,
        }
        self.placed = true;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed has a name that tells what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
