use std::fs;
use std::path::{Path, PathBuf};

use super::{Server, files_in};

const FILE: &str = "etc/systemd/timesyncd.conf";
const DROP_INS: [&str; 3] = [
    "usr/lib/systemd/timesyncd.conf.d",
    "run/systemd/timesyncd.conf.d",
    "etc/systemd/timesyncd.conf.d",
];

/// The servers systemd-timesyncd is configured with, and the file that names them: those of `NTP=`,
/// else those of `FallbackNTP=`.
pub(super) fn servers(root: &Path) -> Option<(PathBuf, Vec<Server>)> {
    let mut files = vec![root.join(FILE)];
    files.extend(DROP_INS.iter().flat_map(|dir| files_in(&root.join(dir), "conf")));
    let texts: Vec<_> = files
        .into_iter()
        .map(|file| (fs::read_to_string(&file).unwrap_or_default(), file))
        .collect();
    parse(&texts)
}

/// The same of these texts and what goes with each, in order.
pub(crate) fn parse<T: Clone>(texts: &[(String, T)]) -> Option<(T, Vec<Server>)> {
    ["NTP", "FallbackNTP"].into_iter().find_map(|key| {
        let mut servers = Vec::new();
        let mut origin = None;
        for (text, file) in texts {
            for value in values(text, key) {
                origin = Some(file.clone());
                if value.is_empty() {
                    // An empty assignment forgets what came before.
                    servers.clear();
                }
                let names = value.split_whitespace().filter_map(|name| name.parse().ok());
                servers.extend(names.map(Server::one));
            }
        }
        origin.filter(|_| !servers.is_empty()).map(|file| (file, servers))
    })
}

fn values<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
        .map(str::trim)
}
