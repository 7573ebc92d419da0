use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// One installation of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// The folder where the server really is, with all its programs: others may hold links to some.
    pub(super) fn home(&self) -> PathBuf {
        let server = self.program("postgres").canonicalize().ok();
        server.and_then(|server| Some(server.parent()?.to_owned())).unwrap_or(self.folder.clone())
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Finds the server: in the folder that was named, else by the environment, PATH, and where Debian
/// puts it. A cluster that exists decides the major version, else the newest wins.
pub(super) fn find(
    named: Option<&Path>,
    major: Option<u32>,
    data: &Path,
) -> Result<Binaries, PostgresError> {
    let folders = candidates(named);
    let found: Vec<Binaries> = folders.iter().filter_map(|folder| probe(folder)).collect();
    let Some(needed) = major else {
        // The first of equals, so that an explicit choice wins over the same version elsewhere.
        let newest = found.iter().map(|b| b.major).max();
        let first = found.into_iter().find(|b| named.is_some() || Some(b.major) == newest);
        return first.ok_or_else(|| PostgresError::NoBinaries { looked: list(&folders) });
    };
    let versions = list(found.iter().map(|b| b.major.to_string()));
    match found.into_iter().find(|b| b.major == needed) {
        Some(binaries) => Ok(binaries),
        None if versions.is_empty() => Err(PostgresError::NoBinaries { looked: list(&folders) }),
        None => Err(PostgresError::MajorVersion { data: data.to_owned(), needed, found: versions }),
    }
}

/// The newest installation of the client programs pg_dump and pg_restore, which a machine may have
/// without the server; of `major` if there is one, for then both sides are alike.
pub(super) fn find_client(
    named: Option<&Path>,
    major: Option<u32>,
) -> Result<PathBuf, PostgresError> {
    let folders: Vec<PathBuf> =
        named.map(Path::to_owned).into_iter().chain(candidates(None)).collect();
    let both =
        |folder: &&PathBuf| ["pg_dump", "pg_restore"].iter().all(|p| folder.join(p).is_file());
    let found = folders.iter().filter(both).filter_map(|f| Some((version(&f.join("pg_dump"))?, f)));
    let best = found.max_by_key(|(version, _)| (Some(*version) == major, *version));
    let best = best.map(|(_, folder)| folder.clone());
    best.ok_or_else(|| PostgresError::NoClient { looked: list(&folders) })
}

fn candidates(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(folder) = named {
        return vec![folder.to_owned()];
    }
    if let Some(folder) = std::env::var_os("TRUECHIMER_PG_BIN").filter(|v| !v.is_empty()) {
        return vec![folder.into()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for root in ["/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql"] {
        folders.push(Path::new(root).join("bin"));
        let versions = std::fs::read_dir(root).into_iter().flatten().flatten();
        folders.extend(versions.map(|entry| entry.path().join("bin")));
    }
    folders
}

/// Only a folder with both programs counts: PATH often holds client programs alone.
fn probe(folder: &Path) -> Option<Binaries> {
    if !folder.join("postgres").is_file() || !folder.join("initdb").is_file() {
        return None;
    }
    Some(Binaries { folder: folder.to_owned(), major: version(&folder.join("postgres"))? })
}

fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" is 15.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(char::is_numeric))?;
    number.split(|c: char| !c.is_numeric()).next()?.parse().ok()
}

fn list(items: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let words: Vec<_> =
        items.into_iter().map(|item| item.as_ref().to_string_lossy().into_owned()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the version is read from what released servers print.
    #[test]
    fn major_of_real_version_lines() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_major(debian), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("bash: command not found"), None);
    }

    /// Proves that a folder without a server is refused with words on what to install.
    #[test]
    fn missing_binaries_say_what_to_do() {
        let error = find(Some(Path::new("/nonexistent")), None, Path::new("/d")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nonexistent") && text.contains("apt install postgresql"), "{text}");
    }
}
