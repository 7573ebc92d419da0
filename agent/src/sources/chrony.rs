use std::fs;
use std::path::{Path, PathBuf};

use super::server::{MAX_ADDRESSES, POLL};
use super::{Chosen, Server, ServerName, files_in};

/// How deep files may include files.
const MAX_DEPTH: usize = 4;

/// What a chrony configuration and the files it includes say of servers; absolute paths in it are taken
/// below `root`. No servers if there is no such file.
pub(super) fn chosen(root: &Path, file: &Path) -> Chosen {
    let mut reader = Reader::new(root);
    reader.read(file, MAX_DEPTH);
    reader.finish()
}

/// What one text says of servers, whatever it includes.
pub(crate) fn parse(text: &str) -> Chosen {
    let mut reader = Reader::new(Path::new("/"));
    reader.take(text, 0);
    reader.finish()
}

struct Reader<'a> {
    root: &'a Path,
    found: Chosen,
    /// `ntstrustedcerts`, wherever it stands.
    trusted: Option<PathBuf>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, found: Chosen::default(), trusted: None }
    }

    fn finish(self) -> Chosen {
        let Self { mut found, trusted, .. } = self;
        for server in found.servers.iter_mut().filter(|server| server.nts) {
            server.nts_ca_file.clone_from(&trusted);
        }
        found
    }

    fn read(&mut self, file: &Path, depth: usize) {
        if let Ok(text) = fs::read_to_string(file) {
            self.take(&text, depth);
        }
    }

    fn take(&mut self, text: &str, depth: usize) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let directive = words.next().unwrap_or_default().to_ascii_lowercase();
            let rest: Vec<_> = words.collect();
            match (directive.as_str(), rest.as_slice()) {
                ("server" | "peer", rest) => self.found.servers.extend(server(rest, false)),
                ("pool", rest) => self.found.servers.extend(server(rest, true)),
                ("keyfile", [path]) => self.found.keys_file = Some(self.below(path)),
                ("ntstrustedcerts", [path]) => self.trusted = Some(self.below(path)),
                ("minsources", [least]) => self.found.min_sources = least.parse().ok(),
                ("include", paths) if depth > 0 => {
                    for path in paths {
                        self.read(&self.below(path), depth - 1);
                    }
                }
                ("confdir" | "sourcedir", directories) if depth > 0 => {
                    let extension = if directive == "confdir" { "conf" } else { "sources" };
                    for directory in directories {
                        for path in files_in(&self.below(directory), extension) {
                            self.read(&path, depth - 1);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// `NAME [option [value]]…`, as far as the options mean something here.
fn server(words: &[&str], pool: bool) -> Option<Server> {
    let (name, options) = words.split_first()?;
    let at = |option: &str| options.iter().position(|word| word.eq_ignore_ascii_case(option));
    let has = |option: &str| at(option).is_some();
    let value = |option: &str| at(option).and_then(|at| options.get(at + 1));
    let number = |option: &str| value(option).and_then(|value| value.parse::<i64>().ok());
    let poll = |option: &str| {
        let exponent = number(option)?.clamp((*POLL.start()).into(), (*POLL.end()).into());
        i8::try_from(exponent).ok()
    };
    let port = value("port").map_or(Some(123), |port| port.parse().ok())?;
    let mut server = Server::one(ServerName::new(name, port).ok()?);
    server.pool = pool;
    if let Some(most) = value("maxsources").and_then(|most| most.parse().ok()) {
        server.addresses = usize::clamp(most, 1, MAX_ADDRESSES);
    }
    server.min_poll = poll("minpoll");
    server.max_poll = poll("maxpoll").map(|max| server.min_poll.map_or(max, |min| max.max(min)));
    server.iburst = Some(has("iburst"));
    server.burst = has("burst");
    server.nts = has("nts");
    server.nts_port =
        value("ntsport").and_then(|port| port.parse().ok()).unwrap_or(server.nts_port);
    server.key = value("key").and_then(|id| id.parse().ok()).filter(|_| !server.nts);
    server.noselect = has("noselect");
    server.prefer = has("prefer") && !server.noselect;
    server.trust = has("trust") && !server.noselect;
    server.require = has("require") && !server.noselect;
    server.offline = has("offline");
    Some(server)
}
