use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use store::ingest::RefusalCount;

use super::{Metrics, Reason};
use crate::clock;

/// Longest text kept about one refusal.
const DETAIL_CHARS: usize = 200;

/// Refusals since the last transaction, added up by host and reason: at most one entry for each, so a
/// flood of bad input costs no memory.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    metrics: Metrics,
    waiting: Arc<Mutex<BTreeMap<(i64, Reason), RefusalCount>>>,
}

impl Refusals {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, waiting: Arc::default() }
    }

    /// Counts one refusal of a host.
    pub(super) fn count(&self, host: i64, reason: Reason, detail: &str) {
        self.metrics.refused(reason).inc();
        self.add(
            RefusalCount {
                host,
                reason: reason.word(),
                count: 1,
                last_at: clock::now(),
                detail: detail.chars().take(DETAIL_CHARS).collect(),
            },
            reason,
        );
    }

    /// What is to be written, in the order of hosts.
    pub(super) fn take(&self) -> BTreeMap<(i64, Reason), RefusalCount> {
        std::mem::take(&mut *self.lock())
    }

    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes back what could not be written.
    pub(super) fn give_back(&self, unwritten: BTreeMap<(i64, Reason), RefusalCount>) {
        for ((_, reason), count) in unwritten {
            self.add(count, reason);
        }
    }

    fn add(&self, more: RefusalCount, reason: Reason) {
        let mut waiting = self.lock();
        let key = (more.host, reason);
        match waiting.get_mut(&key) {
            Some(there) if there.last_at > more.last_at => there.count += more.count,
            Some(there) => *there = RefusalCount { count: there.count + more.count, ..more },
            None => drop(waiting.insert(key, more)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(i64, Reason), RefusalCount>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
