use alloc::collections::VecDeque;
use alloc::vec::Vec;

use timebase::Event;

/// Events kept for the next report. Sources change a few times an hour; whoever makes more of them
/// than this between two reports is broken, and the first of them tell how it began.
pub const MAX_EVENTS: usize = 256;

/// Events waiting for the next report.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventLog {
    waiting: VecDeque<Event>,
    lost: u64,
}

impl EventLog {
    pub(crate) fn push(&mut self, event: Event) {
        if self.waiting.len() < MAX_EVENTS {
            self.waiting.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn peek(&self) -> Vec<Event> {
        self.waiting.iter().cloned().collect()
    }

    pub(crate) fn drain(&mut self) -> Vec<Event> {
        self.waiting.drain(..).collect()
    }

    /// Events that found no room, since start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}
