use std::collections::HashMap;

use timebase::{Timestamp, Utc};

use super::watermark::Mark;

/// Most sources remembered; beyond, all are forgotten. About 50 MB, a host taking 120 bytes with three.
const MOST_SOURCES: usize = 1 << 20;

/// What a writer remembers of the hosts it wrote, so that it need not write again what the database has.
/// Only a saving: whatever is forgotten is written once more.
#[derive(Debug, Default)]
pub struct Memory {
    hosts: HashMap<i64, Remembered>,
    sources: usize,
}

/// The rows of one host's sources, and the watermark they were written with.
#[derive(Debug)]
pub(super) struct Remembered {
    boot_no: i32,
    last: i64,
    sources: Box<[Written]>,
}

/// A row of `store.source_state`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Of what matters in it.
    pub(super) digest: u64,
    /// The time its numbers are of.
    pub(super) seen_at: Timestamp<Utc>,
}

impl Remembered {
    /// What stands once the report is committed.
    pub(super) fn new(mark: &Mark, sources: Box<[Written]>) -> Self {
        Self { boot_no: mark.boot_no, last: mark.last, sources }
    }
}

impl Memory {
    /// The rows of the host's sources, unless another collector has written the host since: then its
    /// watermark has moved.
    pub(super) fn of(&self, host: i64, found: &Mark) -> Option<&[Written]> {
        let known = self.hosts.get(&host)?;
        let same = known.boot_no == found.boot_no && known.last == found.before;
        same.then_some(&known.sources[..])
    }

    /// Takes in what was committed.
    pub(super) fn update(&mut self, committed: Vec<(i64, Option<Remembered>)>) {
        for (host, known) in committed {
            let more = known.as_ref().map_or(0, |known| known.sources.len());
            let before = match known {
                Some(known) => self.hosts.insert(host, known),
                None => self.hosts.remove(&host),
            };
            self.sources += more;
            self.sources -= before.map_or(0, |before| before.sources.len());
        }
        if self.sources > MOST_SOURCES {
            *self = Self::default();
        }
    }
}
