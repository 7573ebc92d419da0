use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use super::binaries::Binaries;
use super::layout::Layout;
use super::{OWNER, PostgresError, READER, process};

/// The major version that made the cluster, or `None` if there is no cluster.
pub(super) fn major(layout: &Layout) -> Result<Option<u32>, PostgresError> {
    let path = layout.data.join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().split('.').next().and_then(|major| major.parse().ok())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(PostgresError::file("cannot read", &path)(e)),
    }
}

/// initdb, beside its place and then moved there: a crash in between leaves no half-made cluster.
pub(super) async fn create_if_missing(
    layout: &Layout,
    binaries: &Binaries,
) -> Result<(), PostgresError> {
    if major(layout)?.is_some() {
        return Ok(());
    }
    tracing::info!(folder = %layout.data.display(), "creating the embedded database cluster");
    let draft = make_draft(layout, binaries).await?;
    std::fs::rename(&draft, &layout.data).map_err(PostgresError::file("cannot place", &layout.data))
}

/// A new cluster beside the place of the real one, in place of an earlier draft.
pub(super) async fn make_draft(
    layout: &Layout,
    binaries: &Binaries,
) -> Result<PathBuf, PostgresError> {
    let draft = layout.folder.join("data.new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(PostgresError::file("cannot remove", &draft))?;
    }
    let mut initdb = process::as_user(layout, &binaries.program("initdb"));
    initdb.arg("-D").arg(&draft).args([
        "-U",
        OWNER,
        "-E",
        "UTF8",
        "--no-locale",
        "-k",
        "-A",
        "peer",
    ]);
    let output = initdb.output().await.map_err(PostgresError::file("cannot run", &draft))?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(PostgresError::Program { program: "initdb", output });
    }
    Ok(draft)
}

/// Writes our settings and who may come in; at every start, so that a newer version's apply.
pub(super) async fn write_settings(
    layout: &Layout,
    binaries: &Binaries,
) -> Result<(), PostgresError> {
    let main = layout.data.join("postgresql.conf");
    let text = std::fs::read_to_string(&main).map_err(PostgresError::file("cannot read", &main))?;
    const INCLUDE: &str = "include 'truechimer.conf'";
    // First what every build understands: it is asked below, and would not answer if what it includes were missing, or
    // were what another build wrote.
    write(layout, "truechimer.conf", &settings(layout, "on"))?;
    if !text.contains(INCLUDE) {
        write(layout, "postgresql.conf", &format!("{text}\n{INCLUDE}\n"))?;
    }
    // The built-in compression costs the writers a pause at every checkpoint.
    if takes(layout, binaries, "wal_compression=lz4").await {
        write(layout, "truechimer.conf", &settings(layout, "lz4"))?;
    }
    write(layout, "pg_hba.conf", &who_may_come_in(layout))?;
    write(layout, "pg_ident.conf", &identities(&layout.user))
}

/// Whether this build of the server knows the value of a setting.
async fn takes(layout: &Layout, binaries: &Binaries, setting: &str) -> bool {
    let mut postgres = process::as_user(layout, &binaries.program("postgres"));
    let name = setting.split('=').next().unwrap_or(setting);
    postgres.arg("-D").arg(&layout.data).args(["-c", setting, "-C", name]);
    matches!(postgres.output().await, Ok(output) if output.status.success())
}

/// Durable above all (fsync stays on); the rest is for a machine with other work to do.
fn settings(layout: &Layout, compression: &str) -> String {
    let socket = layout.socket.display().to_string().replace('\'', "''");
    let address = layout.listen.map(|at| at.ip().to_string()).unwrap_or_default();
    let port = layout.port();
    format!(
        "# Written by truechimer at every start: put your own settings into postgresql.conf below\n\
         # the include line.\n\
         listen_addresses = '{address}'\n\
         unix_socket_directories = '{socket}'\n\
         unix_socket_permissions = 0700\n\
         port = {port}\n\
         max_connections = 88\n\
         # So many are kept for the collector, however many people ask.\n\
         superuser_reserved_connections = 24\n\
         shared_buffers = 192MB\n\
         wal_compression = {compression}\n\
         max_wal_size = 2GB\n\
         checkpoint_timeout = 15min\n\
         autovacuum_naptime = 15s\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         logging_collector = off\n\
         log_min_messages = warning\n"
    )
}

/// By the socket: the owner and the reader as the user who runs us; SQL users by their password. By TCP,
/// where there is a listener: SQL users alone.
fn who_may_come_in(layout: &Layout) -> String {
    let mut text = format!(
        "local all {OWNER},{READER} peer map=own\n\
         local {OWNER} +{READER} scram-sha-256\n"
    );
    if layout.listen.is_some() {
        let _ = writeln!(text, "host {OWNER} +{READER} all scram-sha-256");
    }
    text
}

/// root, the server's user and whoever runs us come in as owner or reader; nobody else at all.
fn identities(user: &User) -> String {
    let me = User::from_uid(geteuid()).ok().flatten().map(|me| me.name);
    let mut names = vec!["root".to_owned(), user.name.clone()];
    names.extend(me);
    names.sort();
    names.dedup();
    let mut text = String::new();
    for name in names {
        for role in [OWNER, READER] {
            let _ = writeln!(text, "own \"{name}\" {role}");
        }
    }
    text
}

fn write(layout: &Layout, name: &str, text: &str) -> Result<(), PostgresError> {
    let path = layout.data.join(name);
    let draft = layout.data.join(format!("{name}.new"));
    let place = |path: &Path| -> std::io::Result<()> {
        std::fs::write(&draft, text)?;
        chown(&draft, Some(layout.user.uid.as_raw()), Some(layout.user.gid.as_raw()))?;
        std::fs::rename(&draft, path)
    };
    place(&path).map_err(PostgresError::file("cannot write", &path))
}
