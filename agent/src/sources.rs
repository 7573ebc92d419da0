//! Which servers to ask: those given, else those this host is already configured with, else the
//! public pool.

mod chrony;
mod name;
mod timesyncd;

use std::fs;
use std::path::{Path, PathBuf};

use tracing::info;

pub use name::{ParseNameError, ServerName};

/// Addresses taken from one pool name, as other NTP clients do.
pub const POOL_ADDRESSES: usize = 4;
/// The public pool, for hosts that are configured with nothing.
const PUBLIC_POOL: [&str; 4] =
    ["0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"];
/// Where chrony keeps its configuration: Debian's place, then everybody else's.
const CHRONY: [&str; 2] = ["etc/chrony/chrony.conf", "etc/chrony.conf"];

/// One server or pool to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name and port.
    pub name: ServerName,
    /// How many of its addresses to use.
    pub addresses: usize,
}

impl Server {
    fn one(name: ServerName) -> Self {
        Self { name, addresses: 1 }
    }
}

/// The servers to ask, and a line that says where they come from.
pub fn choose(given: &[ServerName]) -> Vec<Server> {
    if !given.is_empty() {
        return given.iter().cloned().map(Server::one).collect();
    }
    let (origin, servers) = configured(Path::new("/"));
    let names: Vec<_> = servers.iter().map(|server| server.name.to_string()).collect();
    info!("asking {} (from {origin})", names.join(", "));
    servers
}

/// What the host under `root` is configured with.
fn configured(root: &Path) -> (String, Vec<Server>) {
    for file in CHRONY.map(|file| root.join(file)) {
        let servers = chrony::servers(root, &file);
        if !servers.is_empty() {
            return (file.display().to_string(), servers);
        }
    }
    if let Some((file, servers)) = timesyncd::servers(root) {
        return (file.display().to_string(), servers);
    }
    let pool = PUBLIC_POOL.iter().filter_map(|name| name.parse().ok()).map(Server::one);
    ("the public NTP pool: nothing is configured here".to_owned(), pool.collect())
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
