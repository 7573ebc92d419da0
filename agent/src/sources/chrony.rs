use std::fs;
use std::path::{Path, PathBuf};

use super::{POOL_ADDRESSES, Server, ServerName, files_in};

/// How deep files may include files.
const MAX_DEPTH: usize = 4;

/// The servers of a chrony configuration and the files it includes; absolute paths in it are taken
/// below `root`. Nothing if there is no such file.
pub(super) fn servers(root: &Path, file: &Path) -> Vec<Server> {
    let mut found = Vec::new();
    read(root, file, MAX_DEPTH, &mut found);
    found
}

fn read(root: &Path, file: &Path, depth: usize, found: &mut Vec<Server>) {
    let Ok(text) = fs::read_to_string(file) else { return };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let directive = words.next().unwrap_or_default().to_ascii_lowercase();
        let rest: Vec<_> = words.collect();
        let below = |path: &str| -> PathBuf { root.join(path.trim_start_matches('/')) };
        match directive.as_str() {
            "server" | "peer" => found.extend(server(&rest, 1)),
            "pool" => found.extend(server(&rest, POOL_ADDRESSES)),
            "include" if depth > 0 => {
                for path in &rest {
                    read(root, &below(path), depth - 1, found);
                }
            }
            "confdir" | "sourcedir" if depth > 0 => {
                let extension = if directive == "confdir" { "conf" } else { "sources" };
                for path in rest.iter().flat_map(|dir| files_in(&below(dir), extension)) {
                    read(root, &path, depth - 1, found);
                }
            }
            _ => {}
        }
    }
}

/// `NAME [option [value]]…`; only the options that change whom to ask matter here.
fn server(words: &[&str], addresses: usize) -> Option<Server> {
    let (name, options) = words.split_first()?;
    let value = |option: &str| {
        let at = options.iter().position(|word| word.eq_ignore_ascii_case(option))?;
        options.get(at + 1)
    };
    let port = value("port").map_or(Some(123), |port| port.parse().ok())?;
    let addresses = match value("maxsources").and_then(|n| n.parse().ok()) {
        Some(most) if addresses > 1 => usize::clamp(most, 1, 16),
        _ => addresses,
    };
    Some(Server { name: ServerName::new(name, port).ok()?, addresses })
}
