//! Which servers to ask: those given, else those this host is already configured with, else the
//! public pool.

pub(crate) mod chrony;
mod name;
mod server;
pub(crate) mod timesyncd;

use std::fs;
use std::path::{Path, PathBuf};

use tracing::info;

pub use name::{ParseNameError, ServerName};
pub(crate) use server::checked;
pub use server::{Asking, POLL, Server};

/// The public pool, for hosts that are configured with nothing.
const PUBLIC_POOL: [&str; 4] =
    ["0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"];
/// Where chrony keeps its configuration: Debian's place, then everybody else's.
const CHRONY: [&str; 2] = ["etc/chrony/chrony.conf", "etc/chrony.conf"];

/// Whom to ask, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The servers.
    pub servers: Vec<Server>,
    /// Where the keys are that their options name.
    pub keys_file: Option<PathBuf>,
    /// How many of them must agree, if that is said where they are.
    pub min_sources: Option<usize>,
}

/// The servers to ask: those given, else those found on this host.
pub fn choose(given: Vec<Server>) -> Chosen {
    if !given.is_empty() {
        return Chosen { servers: given, ..Chosen::default() };
    }
    let (origin, chosen) = configured(Path::new("/"));
    let names: Vec<_> = chosen.servers.iter().map(|server| server.name.to_string()).collect();
    info!("asking {} (from {origin})", names.join(", "));
    chosen
}

/// What the host under `root` is configured with, and where that comes from.
fn configured(root: &Path) -> (String, Chosen) {
    for file in CHRONY.map(|file| root.join(file)) {
        let chosen = chrony::chosen(root, &file);
        if !chosen.servers.is_empty() {
            return (file.display().to_string(), chosen);
        }
    }
    if let Some((file, servers)) = timesyncd::servers(root) {
        return (file.display().to_string(), Chosen { servers, ..Chosen::default() });
    }
    let pool = PUBLIC_POOL.iter().filter_map(|name| name.parse().ok()).map(Server::one);
    let chosen = Chosen { servers: pool.collect(), ..Chosen::default() };
    ("the public NTP pool: nothing is configured here".to_owned(), chosen)
}

/// Files in `directory` that end in `.extension`, in the order daemons read them.
fn files_in(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests;
