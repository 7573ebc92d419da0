//! Who the hosts are, and their credentials: one file for the fleet, a line for each host.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use agent::uplink::Secret;
use anyhow::{Context, Result};
use timebase::HostId;

use super::model::rng_of;

/// In the state directory; readable by its owner only.
pub(crate) const FILE: &str = "light-hosts";

/// The hosts that have enrolled.
#[derive(Debug)]
pub(crate) struct Roster {
    known: Vec<Option<(HostId, Secret)>>,
    seed: u64,
    file: Mutex<File>,
}

impl Roster {
    /// Reads the file of an earlier run, if there is one. Each line: number, host id, credential.
    pub(crate) fn open(state_dir: &Path, hosts: usize, seed: u64) -> Result<Self> {
        let path = state_dir.join(FILE);
        let named = || path.display().to_string();
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.with_context(named)?;
        let text = std::fs::read_to_string(&path).with_context(named)?;
        let mut known = vec![None; hosts];
        for (place, line) in text.lines().enumerate() {
            let (number, id, credential) =
                parse(line).with_context(|| format!("{}, line {}", path.display(), place + 1))?;
            if let Some(host) = known.get_mut(number) {
                *host = Some((id, credential));
            }
        }
        Ok(Self { known, seed, file: Mutex::new(file) })
    }

    /// The host's id, and its credential if it has enrolled.
    pub(crate) fn host(&self, number: usize) -> (HostId, Option<Secret>) {
        match self.known.get(number).cloned().flatten() {
            Some((id, credential)) => (id, Some(credential)),
            None => (HostId::from_bytes(rng_of(number, self.seed).bytes16()), None),
        }
    }

    /// How many have yet to enrol.
    pub(crate) fn strangers(&self) -> usize {
        self.known.iter().filter(|host| host.is_none()).count()
    }

    /// Keeps a credential: it is given only once.
    pub(crate) fn keep(
        &self,
        number: usize,
        id: HostId,
        credential: &Secret,
    ) -> std::io::Result<()> {
        let line = format!("{number} {id} {}\n", credential.expose());
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}

fn parse(line: &str) -> Result<(usize, HostId, Secret)> {
    let mut words = line.split_whitespace();
    let (Some(number), Some(id), Some(credential), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        anyhow::bail!("not a number, a host id and a credential");
    };
    Ok((number.parse()?, id.parse().context("host id")?, Secret::new(credential)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that hosts keep id and credential over a restart, those that have none get an id of their
    /// own, and a file that is something else is refused with the line.
    #[test]
    fn hosts_are_known_again() {
        let folder = std::env::temp_dir().join(format!("roster-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let roster = Roster::open(&folder, 3, 1).unwrap();
        assert_eq!(roster.strangers(), 3);
        let (id, none) = roster.host(2);
        assert_eq!(none, None);
        roster.keep(2, id, &Secret::new("tch_x")).unwrap();

        let again = Roster::open(&folder, 3, 8).unwrap();
        assert_eq!(again.host(2), (id, Some(Secret::new("tch_x"))));
        assert_eq!(again.strangers(), 2);
        assert_ne!(again.host(0).0, again.host(1).0);

        std::fs::write(folder.join(FILE), "0 zero tch_x\n").unwrap();
        let error = Roster::open(&folder, 3, 1).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error:#}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
