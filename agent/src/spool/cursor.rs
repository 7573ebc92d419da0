use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use timebase::{BootId, Seq};

/// What is acknowledged: one line `boot seq` for every boot with reports in the spool.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    acknowledged: BTreeMap<BootId, Seq>,
}

impl Cursor {
    /// Reads the cursor; none, or lines that make no sense, mean that nothing is acknowledged.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let path = directory.join("cursor");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) =>
            {
                String::new()
            }
            Err(error) => return Err(error),
        };
        let entry = |line: &str| {
            let (boot, seq) = line.split_once(' ')?;
            Some((boot.parse().ok()?, Seq(seq.parse().ok()?)))
        };
        Ok(Self { path, acknowledged: text.lines().filter_map(entry).collect() })
    }

    /// The highest number acknowledged of `boot`.
    pub(super) fn of(&self, boot: BootId) -> Option<Seq> {
        self.acknowledged.get(&boot).copied()
    }

    /// Notes an acknowledgement, forgets boots that are not in `boots`, and replaces the file.
    pub(super) fn advance(
        &mut self,
        boot: BootId,
        seq: Seq,
        boots: &BTreeSet<BootId>,
    ) -> io::Result<()> {
        let entry = self.acknowledged.entry(boot).or_insert(seq);
        *entry = (*entry).max(seq);
        self.acknowledged.retain(|known, _| boots.contains(known));
        let lines: String =
            self.acknowledged.iter().map(|(boot, seq)| format!("{boot} {seq}\n")).collect();
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, lines)?;
        fs::rename(&fresh, &self.path)
    }
}
