//! Reads the clocks for the engine, and tells it what a reading alone does not show: that the host slept, and that the
//! clock was set by less than a slew could have done.

use std::mem;

use agent_core::{ClockReading, Engine};
use prometheus_client::metrics::counter::Counter;
use timebase::Bounds;
use tracing::{info, warn};

use crate::sys::cancel::StepNotice;
use crate::sys::clock;

/// What is remembered of the clocks between two readings.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// `None` where the kernel gives none.
    notice: Option<StepNotice>,
    /// It told of a step that the engine does not know of.
    noticed: bool,
    /// What the clock was set to last; `None` where the kernel does not tell.
    set_to: Option<Bounds>,
    /// `None` where the kernel does not count it.
    suspended: Option<Bounds>,
    suspends: Counter,
}

impl ClockWatch {
    /// Watches from now on: before the first reading. Needs a tokio runtime.
    pub(crate) fn new(suspends: Counter) -> Self {
        let notice = StepNotice::new()
            .inspect_err(|error| {
                warn!("no notice of clock steps ({error}): they are found within a second");
            })
            .ok();
        let suspended = clock::suspended_so_far();
        if suspended.is_none() {
            warn!("no CLOCK_BOOTTIME: a suspend of this host goes unnoticed");
        }
        Self { notice, noticed: false, set_to: clock::set_to(), suspended, suspends }
    }

    /// Whether the kernel tells of steps.
    pub(crate) fn has_notice(&self) -> bool {
        self.notice.is_some()
    }

    /// Waits until the kernel tells of a step; then the clocks are to be read.
    pub(crate) async fn stepped(&mut self) {
        match &self.notice {
            // A failing notice would turn the loop into a busy one: looking now and then is left.
            Some(notice) if notice.stepped().await.is_ok() => self.noticed = true,
            _ => std::future::pending().await,
        }
    }

    /// Tells the engine what the clocks show, and gives back what it was told: nothing may be said of a
    /// moment before it is known that the host did not sleep until then.
    pub(crate) fn read(&mut self, engine: &mut Engine) -> ClockReading {
        let mut reading = clock::cross_read();
        let suspended = clock::suspended_so_far();
        if let Some(lasted) = clock::suspended_between(self.suspended, suspended) {
            self.suspended = suspended;
            // The first may be of before the sleep, and would make the next look like a step.
            reading = clock::cross_read();
            self.suspends.inc();
            info!("the host was suspended for {lasted}");
            engine.handle_suspend(reading, lasted);
        } else {
            self.suspended = clock::suspended_by_both(self.suspended, suspended);
        }
        // Asked after the reading: a step before it is not missed.
        if self.was_set() {
            let set_to = clock::set_to();
            let by = clock::set_between(mem::replace(&mut self.set_to, set_to), set_to);
            reading = clock::cross_read();
            engine.handle_clock_set(reading, by);
        }
        engine.handle_clock(reading);
        reading
    }

    /// Whether the clock was set since this was asked last: the kernel's word, or what two clocks show
    /// where it gives none.
    fn was_set(&mut self) -> bool {
        if let Some(notice) = &self.notice {
            return mem::take(&mut self.noticed) | notice.take().unwrap_or(false);
        }
        let set_to = clock::set_to();
        if clock::set_between(self.set_to, set_to).is_some() {
            return true;
        }
        // What was read without a break tells more the next time.
        self.set_to = self.set_to.into_iter().chain(set_to).min_by_key(|bounds| bounds.width());
        false
    }

    /// The agent itself has set the clock, and told the engine how far. The kernel tells of that step, too.
    pub(crate) fn handle_own_step(&mut self) {
        self.set_to = clock::set_to();
    }
}
