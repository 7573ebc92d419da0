use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::pb;
use timebase::{BootId, Seq};

/// Reports that wait to be acknowledged, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingBatch {
    /// The boot they were made in; never two boots in one batch.
    pub boot: BootId,
    /// In order of `seq`, at least one.
    pub reports: Vec<pb::Report>,
}

impl PendingBatch {
    /// The number of the last report.
    pub fn last_seq(&self) -> Seq {
        Seq(self.reports.last().map_or(0, |report| report.seq))
    }
}

/// Where an [`Uplink`](super::Uplink) takes reports from: the spool on disk, or a queue in memory.
pub trait Backlog: Send {
    /// The oldest unacknowledged reports, at most `max`, all of one boot. Taking them does not remove
    /// them: asked again, the same are given until they are acknowledged.
    fn next_batch(&mut self, max: usize) -> Option<PendingBatch>;

    /// Everything of `boot` up to and including `seq` is safe with the collector: forget it.
    fn acknowledge(&mut self, boot: BootId, seq: Seq);
}

/// A backlog that the reporter fills while the uplink empties it.
impl<B: Backlog> Backlog for Arc<Mutex<B>> {
    fn next_batch(&mut self, max: usize) -> Option<PendingBatch> {
        self.lock().unwrap_or_else(PoisonError::into_inner).next_batch(max)
    }

    fn acknowledge(&mut self, boot: BootId, seq: Seq) {
        self.lock().unwrap_or_else(PoisonError::into_inner).acknowledge(boot, seq);
    }
}
