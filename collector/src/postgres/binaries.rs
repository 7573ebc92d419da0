use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// One installation of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
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
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries { folder: folder.to_owned(), major })
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
