//! Reports on disk until the collector has committed them.
//!
//! Append-only segments in the state directory. A segment holds the reports of one boot; its first
//! frame is the boot id, the others are encoded reports, each with its own checksum
//! ([`agent_core::spool`]). Every report is on disk (`fdatasync`) before it may be sent: one sync per
//! report, or one for all that waited while the last sync ran. A small cursor file, replaced
//! atomically, says what is acknowledged; it is not synced, because losing it only sends reports
//! again, and the collector knows them by number.
//!
//! Bounded in bytes: when full, the oldest segment goes, and its unsent reports are counted. When the
//! disk refuses to write, reports wait in memory, also bounded, until it works again.

mod cursor;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_proto::pb;
use nix::fcntl::{Flock, FlockArg};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use thiserror::Error;
use timebase::{BootId, Seq, Span};
use tracing::{error, info, warn};

use crate::uplink::{Backlog, PendingBatch};
use cursor::Cursor;
use segment::{Segment, Writer};

/// Size at which a segment is closed and the next begun, unless the spool itself is small.
const SEGMENT_BYTES: u64 = 1 << 20;
/// A spool has room for at least this many segments, so that dropping one loses a part only.
const LEAST_SEGMENTS: u64 = 4;
/// A disk that does not give back what it holds is asked again so often: with each report that is made, and when a
/// session begins.
const READ_TRIES: u32 = 60;
/// Most reports kept in memory while the disk refuses to write: an hour at ten seconds.
const MEMORY_REPORTS: usize = 360;

/// Why the spool cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("spool {0}: {1}")]
    Io(PathBuf, io::Error),
    /// Another agent uses this state directory.
    #[error("spool {0} is in use by another agent; give this one its own --state-dir")]
    InUse(PathBuf),
}

/// The next report's number; shared by the engine that numbers and the spool that knows the past.
#[derive(Clone, Debug)]
pub struct Sequence(Arc<AtomicU64>);

impl Sequence {
    /// Starts at the boot-time clock in ms. Reports are made far more slowly than one in a ms, so this is
    /// above every number used before in this boot, whether or not the disk remembers it.
    pub fn starting_at(since_boot: Span) -> Self {
        let ms = since_boot.as_ns().div_euclid(1_000_000);
        Self(Arc::new(AtomicU64::new(u64::try_from(ms).unwrap_or(0).max(1))))
    }

    /// Takes a number.
    pub fn take(&self) -> Seq {
        Seq(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn raise_above(&self, seq: Seq) {
        self.0.fetch_max(seq.0.saturating_add(1), Ordering::Relaxed);
    }
}

/// What the spool counts. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct SpoolMetrics {
    /// Bytes on disk.
    pub bytes: Gauge,
    /// Reports not yet acknowledged, on disk and in memory.
    pub reports: Gauge,
    /// Reports dropped unsent.
    pub dropped: Counter,
    /// Failed writes.
    pub failures: Counter,
}

impl SpoolMetrics {
    /// Makes the counters visible.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("spool");
        registry.register("bytes", "bytes on disk", self.bytes.clone());
        registry.register("reports", "reports not yet acknowledged", self.reports.clone());
        registry.register("dropped", "reports dropped unsent", self.dropped.clone());
        registry.register("write_failures", "failed writes", self.failures.clone());
    }
}

/// The spool of one agent.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    limit: u64,
    boot: BootId,
    sequence: Sequence,
    /// Oldest first; the last is the one being written if `writer` is there.
    segments: VecDeque<Segment>,
    writer: Option<Writer>,
    /// Reports not on disk: for a moment, or for as long as the disk refuses.
    memory: VecDeque<pb::Report>,
    failing: bool,
    /// How often in a row the oldest reports could not be read.
    failed_reads: u32,
    cursor: Cursor,
    dropped: Arc<AtomicU64>,
    metrics: SpoolMetrics,
    _lock: Flock<File>,
}

impl Spool {
    /// Opens or makes the spool in `directory`, at most `limit` bytes large.
    ///
    /// Cuts off what a crash left half written, and raises `sequence` above every number known to be
    /// used in this boot. That is a second guard: reports may have been sent from memory while the disk
    /// refused them, so what is on disk alone does not say where to go on.
    pub fn open(
        directory: &Path,
        limit: u64,
        boot: BootId,
        sequence: Sequence,
    ) -> Result<Self, OpenError> {
        let at = |error| OpenError::Io(directory.to_owned(), error);
        fs::create_dir_all(directory).map_err(at)?;
        let lock = File::create(directory.join("lock")).map_err(at)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| OpenError::InUse(directory.to_owned()))?;
        let cursor = Cursor::read(directory).map_err(at)?;
        let mut segments = VecDeque::new();
        for (id, path) in segment::list(directory).map_err(at)? {
            if let Some(mut found) = Segment::recover(id, path).map_err(at)? {
                found.forget_through(cursor.of(found.boot()));
                segments.push_back(found);
            }
        }
        let last_used = segments
            .iter()
            .filter(|segment| segment.boot() == boot)
            .filter_map(Segment::last_seq)
            .chain(cursor.of(boot))
            .max();
        if let Some(seq) = last_used {
            sequence.raise_above(seq);
        }
        let mut spool = Self {
            directory: directory.to_owned(),
            limit,
            boot,
            sequence,
            segments,
            writer: None,
            memory: VecDeque::new(),
            failing: false,
            failed_reads: 0,
            cursor,
            dropped: Arc::default(),
            metrics: SpoolMetrics::default(),
            _lock: lock,
        };
        spool.remove_finished();
        spool.measure();
        if spool.pending() > 0 {
            info!(
                reports = spool.pending(),
                "{} reports are waiting in the spool",
                spool.pending()
            );
        }
        Ok(spool)
    }

    /// The counters.
    pub fn metrics(&self) -> &SpoolMetrics {
        &self.metrics
    }

    /// Where the number of reports dropped unsent since last asked is added up, for the engine to
    /// report.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Reports not yet acknowledged.
    pub fn pending(&self) -> usize {
        self.segments.iter().map(Segment::pending).sum::<usize>() + self.memory.len()
    }

    /// Keeps reports: on disk when this returns, or in memory while the disk refuses to write.
    pub fn append(&mut self, reports: impl IntoIterator<Item = pb::Report>) {
        self.memory.extend(reports);
        match self.flush() {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    info!("the spool can be written again");
                }
            }
            Err(failure) => {
                self.metrics.failures.inc();
                if !std::mem::replace(&mut self.failing, true) {
                    error!(
                        "cannot write the spool {}: {failure}; the last {MEMORY_REPORTS} reports are \
                         kept in memory and would not survive a restart",
                        self.directory.display()
                    );
                }
            }
        }
        let excess = self.memory.len().saturating_sub(MEMORY_REPORTS);
        self.memory.drain(..excess);
        self.count_dropped(excess);
        self.measure();
    }

    /// Writes what waits in memory and syncs once. On failure nothing of it counts as written.
    fn flush(&mut self) -> io::Result<()> {
        while !self.memory.is_empty() {
            let mut writer = match self.writer.take() {
                Some(writer) if writer.length() < self.segment_bytes() => writer,
                _ => self.next_segment()?,
            };
            let room = self.segment_bytes();
            let (mut taken, mut written) = (0, Vec::new());
            while let Some(report) = self.memory.get(taken)
                && writer.length() < room
            {
                match writer.stage(report) {
                    Ok(frame) => written.push(frame),
                    Err(failure) => error!("report {} cannot be kept: {failure}", report.seq),
                }
                taken += 1;
            }
            writer.commit()?;
            self.memory.drain(..taken);
            self.count_dropped(taken - written.len());
            let segment = self.segments.back_mut().expect("invariant: the writer has its segment");
            segment.extend(written);
            self.writer = Some(writer);
            self.make_room();
        }
        Ok(())
    }

    fn next_segment(&mut self) -> io::Result<Writer> {
        let id = self.segments.back().map_or(0, |segment| segment.id() + 1);
        self.remove_finished();
        let (segment, writer) = Segment::create(&self.directory, id, self.boot)?;
        self.segments.push_back(segment);
        Ok(writer)
    }

    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES.min(self.limit / LEAST_SEGMENTS)
    }

    /// Drops the oldest segments until the rest fits, but never the one being written.
    fn make_room(&mut self) {
        while self.bytes() > self.limit && self.segments.len() > 1 {
            let Some(oldest) = self.segments.pop_front() else { return };
            let lost = oldest.pending();
            oldest.remove();
            self.count_dropped(lost);
            if lost > 0 {
                warn!(reports = lost, "the spool is full: the oldest {lost} reports were dropped");
            }
        }
    }

    /// Removes segments of which everything is acknowledged, but never the one being written.
    fn remove_finished(&mut self) {
        let active = self.writer.as_ref().map(|_| self.segments.len() - 1);
        let mut index = 0;
        self.segments.retain(|segment| {
            let keep = segment.pending() > 0 || Some(index) == active;
            index += 1;
            if !keep {
                segment.remove();
            }
            keep
        });
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::length).sum()
    }

    fn count_dropped(&self, reports: usize) {
        self.dropped.fetch_add(reports as u64, Ordering::Relaxed);
        self.metrics.dropped.inc_by(reports as u64);
    }

    fn measure(&self) {
        self.metrics.bytes.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
        self.metrics.reports.set(i64::try_from(self.pending()).unwrap_or(i64::MAX));
    }
}

impl Backlog for Spool {
    fn next_batch(&mut self, max: usize) -> Option<PendingBatch> {
        while let Some(segment) = self.segments.iter_mut().find(|segment| segment.pending() > 0) {
            match segment.read(max) {
                Ok(reports) if !reports.is_empty() => {
                    self.failed_reads = 0;
                    return Some(PendingBatch { boot: segment.boot(), reports });
                }
                Ok(_) => {}
                Err(failure) => {
                    warn!("cannot read {}: {failure}", segment.path().display());
                    self.failed_reads += 1;
                    // What came later must not be sent before it.
                    if may_pass(&failure) && self.failed_reads < READ_TRIES {
                        return None;
                    }
                }
            }
            self.failed_reads = 0;
            // What was written and synced cannot be read back: nothing of it can be saved.
            let lost = segment.forget_all();
            self.count_dropped(lost);
            self.measure();
        }
        let reports: Vec<_> = self.memory.iter().take(max).cloned().collect();
        (!reports.is_empty()).then_some(PendingBatch { boot: self.boot, reports })
    }

    fn acknowledge(&mut self, boot: BootId, seq: Seq) {
        if boot == self.boot {
            // The collector may know numbers that a spool on a full disk has forgotten.
            self.sequence.raise_above(seq);
            let unsent = self.memory.iter().position(|report| report.seq > seq.0);
            self.memory.drain(..unsent.unwrap_or(self.memory.len()));
        }
        for segment in self.segments.iter_mut().filter(|segment| segment.boot() == boot) {
            segment.forget_through(Some(seq));
        }
        self.remove_finished();
        let boots = self.segments.iter().map(Segment::boot).chain([self.boot]).collect();
        if let Err(failure) = self.cursor.advance(boot, seq, &boots) {
            self.metrics.failures.inc();
            warn!("cannot write the spool's cursor: {failure}; reports may be sent twice");
        }
        self.measure();
    }
}

/// Whether the same file may be read another time: too many open files, no memory, a disk that is away. Not one that is
/// gone or cut short.
fn may_pass(failure: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    !matches!(failure.kind(), NotFound | UnexpectedEof | InvalidData)
}

#[cfg(test)]
mod tests;
