//! Processor time of the collector and of its Postgres, from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// What was used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Processes {
    pub(crate) collector_s: f64,
    /// Of all its processes, those that have ended among them.
    pub(crate) postgres_s: f64,
    pub(crate) collector_rss_kib: u64,
}

impl Processes {
    /// `collector` 0: there is none.
    pub(crate) fn now(collector: u32, postmaster: u32) -> Result<Self> {
        let ticks_per_s = sysconf(SysconfVar::CLK_TCK)?.context("clock ticks")? as f64;
        let all = all();
        let own = all.get(&collector).map_or(0, |stat| stat.own_ticks);
        let mut tree = BTreeSet::from([postmaster]);
        // A child may come before its parent in the list, for numbers are given again.
        while let Some((pid, _)) =
            all.iter().find(|(pid, stat)| tree.contains(&stat.parent) && !tree.contains(*pid))
        {
            tree.insert(*pid);
        }
        let postgres = all.iter().filter(|(pid, _)| tree.contains(*pid));
        let postgres: u64 =
            postgres.map(|(_, stat)| stat.own_ticks + stat.ended_children_ticks).sum();
        Ok(Self {
            collector_s: own as f64 / ticks_per_s,
            postgres_s: postgres as f64 / ticks_per_s,
            collector_rss_kib: rss_kib(collector),
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            collector_s: self.collector_s - before.collector_s,
            postgres_s: self.postgres_s - before.postgres_s,
            ..*self
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

fn all() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stat = |pid| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?));
    pids.filter_map(stat).collect()
}

/// proc(5): the name in brackets may hold anything; after it come state, parent, …
fn parse(stat: &str) -> Option<Stat> {
    let after_name: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| after_name.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        own_ticks: field(14)? + field(15)?,
        ended_children_ticks: field(16)? + field(17)?,
    })
}

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that times are read from the right fields, whatever a process calls itself.
    #[test]
    fn stat_is_read_behind_the_name() {
        let line = "42 (a) b) (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        let expected = Stat { parent: 7, own_ticks: 120, ended_children_ticks: 7 };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (cut"), None);
    }

    /// Proves that what a child used counts for the tree it belongs to.
    #[test]
    fn children_belong_to_the_tree() {
        let spin = ["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exec sleep 60"];
        let mut child = std::process::Command::new("sh").args(spin).spawn().unwrap();
        let spun = (0..2_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            all().get(&child.id()).is_some_and(|stat| stat.own_ticks > 0)
        });
        let tree = Processes::now(0, std::process::id()).unwrap();
        let alone = all()[&std::process::id()].own_ticks;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(spun && tree.postgres_s * 100.0 > alone as f64, "{tree:?}, alone {alone}");
    }
}
