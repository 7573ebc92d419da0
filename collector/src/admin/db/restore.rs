//! `truechimer db restore`.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use risk::phrase::size;
use sqlx::postgres::PgConnectOptions;
use store::Store;
use tokio::time::Instant;

use super::{checksum, progress};
use crate::admin::table;
use crate::config::Config;
use crate::database;
use crate::postgres::client::Client;

/// Whether a backup is as it was when it was made; `false`: that cannot be told, for it has no checksum, as
/// those of earlier releases.
///
/// # Errors
/// It cannot be read, or is damaged.
pub async fn verify(file: &Path) -> anyhow::Result<bool> {
    std::fs::metadata(file)
        .with_context(|| format!("cannot read the backup {}", file.display()))?;
    let verified = checksum::verify(file).await?;
    if !verified {
        eprintln!(
            "warning: there is no checksum {}: the backup is of an earlier release, or was copied without it. It is \
             read as a whole instead, which finds most damage but not all",
            checksum::beside(file).display()
        );
    }
    Ok(verified)
}

/// Restores a backup into an empty database, whole or not at all, and brings the schema up to date. What is
/// not verified is read as a whole first.
///
/// # Errors
/// The database is not empty, the file is not a whole backup or of a newer version, or the database
/// refuses: it is as empty as before then.
pub async fn run(
    config: &Config,
    store: &Store,
    options: &PgConnectOptions,
    file: &Path,
    verified: bool,
) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(file)?.len();
    let there = store.relations().await?;
    ensure!(
        there == 0,
        "the database has {there} tables and views already, and a restore never writes over data. Name an \
         empty place: another --data-dir, or the --database-url of a database just created \
         (CREATE DATABASE truechimer)"
    );
    let major = super::server_major(store).await?;
    let client = Client::find(config.database.postgres_bin.as_deref(), Some(major))?;
    let started = Instant::now();
    if !verified {
        read_through(&client, file, bytes).await?;
    }
    check_schema(&client, file).await?;
    store.prepare_roles().await.context(
        "cannot make the roles that the backup grants rights to; as the server's administrator create \
         fleet_reader and fleet_analyst first (docs/OPERATIONS.md)",
    )?;
    let mut restore = client.command("pg_restore", Some(options));
    let database = options.get_database().unwrap_or(options.get_username());
    restore.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-password"]);
    restore.arg("--dbname").arg(database).arg(file);
    progress::run(restore, "pg_restore", |pid| read_so_far(pid, bytes)).await?;
    database::migrate(store).await?;
    store.analyze().await?;
    let state = store.server_state().await?;
    let newest = state.newest_sample.map(store::time::from_sql);
    eprintln!(
        "restored {} in {:.1} s: {} hosts, newest sample {}. SQL users belong to the server, not to the \
         backup: add them again with `truechimer sql-user add`",
        size(bytes),
        started.elapsed().as_secs_f64(),
        store.host_count().await?,
        table::moment(newest),
    );
    Ok(())
}

/// Reads the whole file, so that one which is cut or damaged is refused before anything is written.
async fn read_through(client: &Client, file: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut read = client.command("pg_restore", None);
    read.args(["--file", "/dev/null"]).arg(file);
    progress::run(read, "check", |pid| read_so_far(pid, bytes))
        .await
        .with_context(|| format!("{} is not a whole backup", file.display()))
}

/// Refuses what is no backup of ours, or of a newer version.
async fn check_schema(client: &Client, file: &Path) -> anyhow::Result<()> {
    let mut versions = client.command("pg_restore", None);
    versions.args(["--data-only", "--table=_sqlx_migrations", "--file=-"]).arg(file);
    let output = versions.stdout(Stdio::piped()).output().await?;
    progress::succeeded("pg_restore", &output)
        .with_context(|| format!("{} is not a whole backup", file.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(newest) = newest_migration(&text) else {
        bail!("{} is a dump of some other database, not a backup of truechimer", file.display());
    };
    let known = store::newest_schema();
    ensure!(
        newest <= known,
        "the backup was made by a newer truechimer: it has schema version {newest}, this program ({}) knows \
         up to {known}. Nothing was written; install the newer program",
        env!("CARGO_PKG_VERSION"),
    );
    Ok(())
}

/// The highest number in the lines of COPY.
fn newest_migration(script: &str) -> Option<i64> {
    let lines = script.lines().skip_while(|line| !line.starts_with("COPY ")).skip(1);
    let rows = lines.take_while(|line| *line != "\\.");
    rows.filter_map(|row| row.split('\t').next()?.parse().ok()).max()
}

fn read_so_far(pid: u32, bytes: u64) -> String {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse::<u64>().ok());
    let read = read.unwrap_or_default().min(bytes);
    format!("{} of {} read", size(read), size(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the schema version is read from what pg_restore prints.
    #[test]
    fn newest_migration_of_a_script() {
        let script = "SET x = 1;\nCOPY public._sqlx_migrations (version, description) FROM stdin;\n\
                      1\tstore\n10\tlater\n2\tfleet\n\\.\n\n99\tnot a row\n";
        assert_eq!(newest_migration(script), Some(10));
        assert_eq!(newest_migration("SET x = 1;\n"), None);
    }
}
