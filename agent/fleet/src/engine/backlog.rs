use std::collections::VecDeque;

use agent::uplink::{Backlog, PendingBatch};
use fleet_proto::pb;
use timebase::{BootId, Report, Seq};

/// Most reports that wait in memory per host: an hour at the default interval. Simulated hosts have no
/// disk; beyond this the oldest are forgotten and counted.
const CAPACITY: usize = 360;

/// A bounded queue in memory where a real agent has its spool.
#[derive(Default)]
pub(crate) struct MemoryBacklog {
    waiting: VecDeque<(BootId, pb::Report)>,
    forgotten: u64,
}

impl MemoryBacklog {
    pub(crate) fn push(&mut self, boot: BootId, report: &Report) {
        if self.waiting.len() == CAPACITY {
            self.waiting.pop_front();
            self.forgotten += 1;
        }
        self.waiting.push_back((boot, report.into()));
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Reports forgotten since this was last asked.
    pub(crate) const fn take_forgotten(&mut self) -> u64 {
        std::mem::replace(&mut self.forgotten, 0)
    }
}

impl Backlog for MemoryBacklog {
    fn next_batch(&mut self, max: usize) -> Option<PendingBatch> {
        let boot = self.waiting.front()?.0;
        let reports = self
            .waiting
            .iter()
            .take(max)
            .take_while(|(of, _)| *of == boot)
            .map(|(_, report)| report.clone())
            .collect();
        Some(PendingBatch { boot, reports })
    }

    fn acknowledge(&mut self, boot: BootId, seq: Seq) {
        self.waiting.retain(|(of, report)| *of != boot || report.seq > seq.0);
    }
}
