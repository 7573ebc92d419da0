//! The other way to another major version: dump with the old programs, restore with the new. It needs no
//! pg_upgrade, and goes where the two versions' catalogues do not suit each other.

use std::ffi::OsStr;
use std::path::Path;

use super::binaries::Binaries;
use super::layout::Layout;
use super::{OWNER, PostgresError, process};

/// Fills the new, empty cluster of `drafted` from the old one of `layout`, roles and all.
pub(super) async fn copy(
    layout: &Layout,
    drafted: &Layout,
    old: &Binaries,
    new: &Binaries,
) -> Result<(), PostgresError> {
    let roles = layout.folder.join("upgrade.roles");
    let dump = layout.folder.join("upgrade.dump");
    let done = through(layout, drafted, old, new, &roles, &dump).await;
    for file in [&roles, &dump] {
        // One that is not there was never made.
        let _ = std::fs::remove_file(file);
    }
    done
}

async fn through(
    layout: &Layout,
    drafted: &Layout,
    old: &Binaries,
    new: &Binaries,
    roles: &Path,
    dump: &Path,
) -> Result<(), PostgresError> {
    let server = process::start_or_adopt(layout, old).await?;
    let dumped = async {
        run(layout, old, "pg_dumpall", &["--roles-only", "--file"], roles).await?;
        let words = ["--dbname", OWNER, "--create", "--format=custom", "--compress=1", "--file"];
        run(layout, old, "pg_dump", &words, dump).await
    };
    let dumped = dumped.await;
    server.stop().await;
    dumped?;
    // The new cluster has its owner already.
    let text = std::fs::read_to_string(roles).map_err(PostgresError::file("cannot read", roles))?;
    let text = text.replace(&format!("\nCREATE ROLE {OWNER};\n"), "\n");
    std::fs::write(roles, text).map_err(PostgresError::file("cannot write", roles))?;

    let server = process::start_or_adopt(drafted, new).await?;
    let restored = async {
        let words = ["--dbname", "postgres", "--quiet", "--set=ON_ERROR_STOP=1", "--file"];
        run(drafted, new, "psql", &words, roles).await?;
        let words = ["--dbname", "postgres", "--create", "--exit-on-error"];
        run(drafted, new, "pg_restore", &words, dump).await
    };
    let restored = restored.await;
    server.stop().await;
    restored
}

/// Runs a client program on the cluster; `last` is its last argument.
pub(super) async fn run(
    layout: &Layout,
    binaries: &Binaries,
    name: &'static str,
    words: &[&str],
    last: impl AsRef<OsStr>,
) -> Result<(), PostgresError> {
    let program = binaries.home().join(name);
    let mut command = process::as_user(layout, &program);
    command.arg("--host").arg(&layout.socket).args(["--port", &layout.port().to_string()]);
    command.args(["--username", OWNER, "--no-password"]).args(words).arg(last);
    let output = command.output().await.map_err(PostgresError::file("cannot run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(PostgresError::Program { program: name, output })
}
