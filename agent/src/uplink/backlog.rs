use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::pb;
use prost::Message;
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

    /// Leaves the last reports for a later batch if there are too many bytes; one always stays.
    pub(super) fn limit_bytes(&mut self, most: usize) {
        let mut bytes = 0;
        let fitting = self.reports.iter().take_while(|report| {
            bytes += report.encoded_len();
            bytes <= most
        });
        let keep = fitting.count().max(1);
        self.reports.truncate(keep);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a batch is cut to its limit, and that a single large report still goes.
    #[test]
    fn batches_are_limited_in_bytes() {
        let report = |seq| pb::Report {
            seq,
            events: vec![pb::Event { raw_ns: i64::MAX, ..pb::Event::default() }; 50],
            ..pb::Report::default()
        };
        let size = report(1).encoded_len();
        for (most, left) in [(1, 1), (size, 1), (2 * size, 2), (100 * size, 3)] {
            let reports = (1..=3).map(report).collect();
            let mut batch = PendingBatch { boot: BootId::from_bytes([0; 16]), reports };
            batch.limit_bytes(most);
            assert_eq!(batch.reports.len(), left, "{most} bytes");
            assert_eq!(batch.last_seq(), Seq(left as u64));
        }
    }
}
