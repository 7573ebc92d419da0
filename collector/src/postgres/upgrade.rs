//! The cluster of one major version becomes one of another, by pg_upgrade, or by dump and restore where that
//! is missing or fails; the old one is kept aside.
//!
//! The new cluster is made beside the old one and takes its place by renaming once it is whole: killed at
//! any moment, either the old or the new one is there, never half of one.

use std::path::{Path, PathBuf};

use super::binaries::{self, Binaries};
use super::layout::Layout;
use super::{OWNER, PostgresError, by_dump, cluster, lock, process};

/// Where the new cluster waits, whole, until the old one has gone aside.
const WHOLE: &str = "data.upgraded";

/// What was done.
#[derive(Clone, Debug)]
pub struct Upgraded {
    /// Major version before.
    pub from: u32,
    /// Major version now.
    pub to: u32,
    /// The old cluster, to be removed by hand.
    pub old: PathBuf,
}

/// Brings the cluster of `data_dir` to the version of the binaries in `to`, or to the newest installed.
/// The old ones are looked for in `from`, then wherever a server may be. What comes of pg_upgrade's own
/// words goes to `say`.
///
/// # Errors
/// There is no cluster, it is in use or of that version already, binaries are missing, or both ways
/// failed: the old cluster is as it was then.
pub async fn upgrade(
    data_dir: &Path,
    from: Option<&Path>,
    to: Option<&Path>,
    say: impl Fn(&str),
) -> Result<Upgraded, PostgresError> {
    let none =
        || PostgresError::NoUpgrade(format!("no embedded database in {}", data_dir.display()));
    let layout = Layout::existing(data_dir)?.ok_or_else(none)?;
    let _lock = lock::take(&layout).await?;
    finish(&layout)?;
    let major = cluster::major(&layout)?.ok_or_else(none)?;
    let new = binaries::find(to, None, &layout.data)?;
    if new.major <= major {
        return Err(PostgresError::NoUpgrade(format!(
            "the cluster is of Postgres {major}, and the newest binaries found are of {}: install a newer \
             version first, such as `apt install postgresql-{}`, or name its folder with --to",
            new.major,
            major + 1
        )));
    }
    let old = binaries::find(from, Some(major), &layout.data).map_err(|_| {
        PostgresError::NoUpgrade(format!(
            "moving from Postgres {major} to {} needs the binaries of both, and those of {major} are not \
             installed: `apt install postgresql-{major}`, or name their folder with --from",
            new.major
        ))
    })?;
    say(&format!("stopping the cluster of Postgres {major} cleanly"));
    // pg_upgrade takes only a cluster that was shut down; one that was killed recovers by this.
    let server = process::start_or_adopt(&layout, &old).await?;
    let words = ["--dbname", OWNER, "--quiet", "--no-psqlrc", "--command"];
    let opened = by_dump::run(&layout, &old, "psql", &words, store::people::open_functions()).await;
    server.stop().await;
    opened?;
    say(&format!("copying it into a cluster of Postgres {}", new.major));
    let drafted = empty(&layout, &new).await?;
    if let Err(error) = run_pg_upgrade(&layout, &drafted, &old, &new).await {
        // Whatever it did, it did to the draft.
        say(&format!("{error}\ngoing by dump and restore instead, which takes longer"));
        let drafted = empty(&layout, &new).await?;
        by_dump::copy(&layout, &drafted, &old, &new).await?;
    }
    let aside = free_name(&layout.folder, &format!("data.{major}.old"));
    let whole = layout.folder.join(WHOLE);
    rename(&drafted.data, &whole)?;
    rename(&layout.data, &aside)?;
    rename(&whole, &layout.data)?;
    sync(&layout.folder)?;
    Ok(Upgraded { from: major, to: new.major, old: aside })
}

/// A cluster of the new version beside the old one.
async fn empty(layout: &Layout, new: &Binaries) -> Result<Layout, PostgresError> {
    let data = cluster::make_draft(layout, new).await?;
    let drafted = Layout { data, ..layout.clone() };
    cluster::write_settings(&drafted, new).await?;
    Ok(drafted)
}

/// Whether an upgrade was killed between its renames.
pub(super) fn is_unfinished(layout: &Layout) -> bool {
    layout.folder.join(WHOLE).exists()
}

/// Ends an upgrade that was killed between its renames.
pub(super) fn finish(layout: &Layout) -> Result<(), PostgresError> {
    let whole = layout.folder.join(WHOLE);
    if !whole.exists() {
        return Ok(());
    }
    if layout.data.exists() {
        // The old one is still in its place: what was copied may be behind it by now.
        return std::fs::remove_dir_all(&whole)
            .map_err(PostgresError::file("cannot remove", &whole));
    }
    tracing::info!("putting an upgraded cluster in its place");
    rename(&whole, &layout.data)
}

async fn run_pg_upgrade(
    layout: &Layout,
    drafted: &Layout,
    old: &Binaries,
    new: &Binaries,
) -> Result<(), PostgresError> {
    let program = new.home().join("pg_upgrade");
    let mut command = process::as_user(layout, &program);
    command.args(["--username", OWNER]);
    for (option, path) in [
        ("--old-bindir", &old.home()),
        ("--new-bindir", &new.home()),
        ("--old-datadir", &layout.data),
        ("--new-datadir", &drafted.data),
        ("--socketdir", &layout.socket),
    ] {
        command.arg(option).arg(path);
    }
    let output = command.output().await.map_err(PostgresError::file("cannot run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let output = lines[lines.len().saturating_sub(12)..].join("; ");
    let log = last_words(&drafted.data).unwrap_or_default();
    Err(PostgresError::Program { program: "pg_upgrade", output: format!("{output}{log}") })
}

fn rename(from: &Path, to: &Path) -> Result<(), PostgresError> {
    std::fs::rename(from, to).map_err(PostgresError::file("cannot move into place", to))
}

fn sync(folder: &Path) -> Result<(), PostgresError> {
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(PostgresError::file("cannot sync", folder))
}

fn free_name(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|n| format!("{name}.{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find_map(|name| Some(folder.join(name)).filter(|path| !path.exists()));
    free.expect("invariant: there are more numbers than files")
}

/// What the last program that pg_upgrade ran said: the reason, which its own output leaves out.
fn last_words(data: &Path) -> Option<String> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let runs = entries(&data.join("pg_upgrade_output.d"));
    let logs = runs.flat_map(|run| entries(&run.path().join("log")).collect::<Vec<_>>());
    let dumps = |log: &std::fs::DirEntry| log.file_name().to_string_lossy().contains("_dump_");
    let logs = logs.filter(dumps);
    let newest = logs.max_by_key(|log| log.metadata().and_then(|about| about.modified()).ok())?;
    let text = std::fs::read(newest.path()).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("rror") || line.contains("Command was")).collect();
    Some(format!("\n{}: {}", newest.path().display(), lines.join("; ")))
}
