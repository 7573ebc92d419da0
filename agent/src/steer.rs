//! Steering the system clock: carries out what the engine wants, says what came of it, and keeps what was
//! learned in a file.

mod drift;

use std::time::Duration;

use agent_core::{Engine, Steer, Steering};
use prometheus_client::metrics::counter::Counter;
use timebase::Discipliner;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::sys::adjust::Adjuster;
use crate::sys::clock;
pub use drift::DriftFile;

/// How often the drift file is written.
const DRIFT_EVERY: Duration = Duration::from_secs(3600);

/// What steering counts. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct SteerMetrics {
    /// Frequencies set.
    pub corrections: Counter,
    /// Steps made.
    pub steps: Counter,
}

/// What steering needs from outside.
#[derive(Debug)]
pub struct SteerSettings {
    /// Where the learned frequency is kept, if anywhere.
    pub drift: Option<DriftFile>,
    /// Where the state is shown.
    pub shown: watch::Sender<Steering>,
    /// What is counted.
    pub metrics: SteerMetrics,
}

/// The hand on the clock, and its log. Without discipline the engine never asks it for anything.
#[derive(Debug)]
pub(crate) struct Helm {
    adjuster: Adjuster,
    settings: SteerSettings,
    drift_due: Instant,
}

impl Helm {
    pub(crate) fn new(settings: SteerSettings) -> Self {
        let drift_due = Instant::now() + DRIFT_EVERY;
        Self { adjuster: Adjuster::default(), settings, drift_due }
    }

    /// Somebody looked who else steers.
    pub(crate) fn handle_discipliner(&mut self, engine: &mut Engine, other: Discipliner) {
        if engine.steering() == Steering::Off {
            return;
        }
        engine.handle_discipliner(clock::raw(), other, self.adjuster.frequency());
        self.settle(engine);
    }

    /// Carries out one wish of the engine.
    pub(crate) fn steer(&mut self, engine: &mut Engine, steer: Steer) {
        let outcome = self.adjuster.apply(steer);
        match (steer, outcome) {
            (Steer::Step(by), Ok(())) => {
                self.settings.metrics.steps.inc();
                warn!("the agent stepped the clock by {}", by.signed());
            }
            (Steer::Frequency(ppb), Ok(())) => {
                self.settings.metrics.corrections.inc();
                debug!("the clock's frequency is {:+.3} ppm", ppb / 1e3);
            }
            (Steer::Status(_), Ok(())) => {}
            (_, Err(error)) => debug!("{steer:?}: {error}"),
        }
        engine.handle_steered(clock::cross_read(), outcome);
        self.settle(engine);
    }

    /// Shows how steering stands, and writes what was learned when it is time.
    pub(crate) fn settle(&mut self, engine: &Engine) {
        let state = engine.steering();
        let before = *self.settings.shown.borrow();
        if state == before {
            return self.keep_drift(engine);
        }
        self.settings.shown.send_replace(state);
        if state.word() != before.word() {
            match state {
                Steering::Refused(_) | Steering::Panic(_) => warn!("discipline {state}"),
                _ => info!("discipline {state}"),
            }
            if matches!(state, Steering::Refused(_)) {
                self.adjuster.let_go();
            }
        }
        self.keep_drift(engine);
    }

    fn keep_drift(&mut self, engine: &Engine) {
        if Instant::now() >= self.drift_due {
            self.drift_due = Instant::now() + DRIFT_EVERY;
            if let Some((file, learned)) =
                self.settings.drift.clone().zip(engine.learned_frequency())
            {
                // The time path does not wait for the disk.
                drop(tokio::task::spawn_blocking(move || file.keep(learned)));
            }
        }
    }

    /// The clock is left at rest, and what was learned is kept.
    pub(crate) fn stop(&mut self, engine: &Engine) {
        if let Some((file, learned)) = self.settings.drift.take().zip(engine.learned_frequency()) {
            file.keep(learned);
        }
    }
}
