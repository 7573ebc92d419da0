use alloc::vec::Vec;

use timebase::{Bounds, Raw, Timestamp};

use super::{Engine, MAX_SOURCES};
use crate::select::region;
use crate::source::Source;
use crate::{RefclockConfig, RefclockSample, Refused, SourceId};

impl Engine {
    /// Adds a reference clock to the sources. It is not asked: its samples are handed in by
    /// [`handle_refclock`](Self::handle_refclock). For the number given back see
    /// [`add_source`](Self::add_source).
    pub fn add_refclock(&mut self, now: Timestamp<Raw>, config: RefclockConfig) -> SourceId {
        self.at(now);
        let next = self.sources.len().min(MAX_SOURCES);
        let id = SourceId(next as u16);
        if next < MAX_SOURCES {
            let mut source = Source::new_refclock(id, config, &self.config, now);
            source.crossing.set_scale(&self.leaps);
            self.sources.push(source);
        }
        id
    }

    /// How many sources there are, of every kind.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// A reference clock gave a sample.
    ///
    /// # Errors
    /// Why it is not a measurement. Counted in the source's report; nothing else needs to be done.
    pub fn handle_refclock(
        &mut self,
        now: Timestamp<Raw>,
        source: SourceId,
        sample: &RefclockSample,
    ) -> Result<(), Refused> {
        self.at(now);
        let lock = self.sources.get(usize::from(source.0)).and_then(Source::lock);
        let window = self.numbered_window(lock, sample.at.latest);
        let limit = self.config.max_root_distance;
        let source = self.source(source).ok_or(Refused::UnknownSource)?;
        source.handle_sample(now, sample, window, limit)
    }

    /// What those of the majority that know which second it is say of `raw −` leap-free time, or the one
    /// source that a pulse is locked to, whatever is thought of it.
    fn numbered_window(&self, lock: Option<&str>, at: Timestamp<Raw>) -> Option<Bounds> {
        let numbered = |source: &&Source| {
            let asked = lock.map_or(source.verdict.takes_part(), |name| source.name() == name);
            source.is_numbered() && asked
        };
        let sources = self.sources.iter().filter(numbered);
        let bounds: Vec<_> = sources.filter_map(|source| source.track.bounds_at(at)).collect();
        region(&bounds)?.hull()
    }
}
