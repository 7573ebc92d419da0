use timebase::{Discipliner, Raw, Span, Timestamp};

use super::Engine;
use crate::discipline::{Controller, Estimate, Gain};
use crate::{ClockReading, LearnedFrequency, SteerError, Steering};

/// Steering the system clock. Without [`crate::EngineConfig::discipline`] none of it does anything, and
/// no [`crate::Action::Steer`] is ever asked for.
impl Engine {
    /// Who else was found steering the system clock ([`Discipliner::None`] for nobody), and the kernel's
    /// present frequency in parts per billion: to be told before the first answer, and every minute.
    pub fn handle_discipliner(&mut self, now: Timestamp<Raw>, other: Discipliner, kernel_ppb: f64) {
        self.at(now);
        if let Some(controller) = &mut self.discipline {
            controller.handle_discipliner(now, other, kernel_ppb);
        }
    }

    /// What became of the last [`crate::Action::Steer`], with the clocks as read right after it.
    pub fn handle_steered(&mut self, now: ClockReading, result: Result<(), SteerError>) {
        self.at(now.raw);
        let Some(controller) = &mut self.discipline else { return };
        if let Some(by) = controller.handle_steered(now.raw, result) {
            self.clock = now;
            self.steps.restart(now);
            self.stepped_by(by);
        }
    }

    /// The agent is about to stop: a correction under way is ended, the frequency stays.
    pub fn handle_stop(&mut self, now: Timestamp<Raw>) {
        self.at(now);
        if let Some(controller) = &mut self.discipline {
            controller.release();
        }
    }

    /// How steering stands.
    pub fn steering(&self) -> Steering {
        self.discipline.as_ref().map_or(Steering::Off, Controller::state)
    }

    /// What was learned of the oscillator, to be kept for the next start.
    pub fn learned_frequency(&self) -> Option<LearnedFrequency> {
        self.discipline.as_ref()?.learned()
    }

    /// Lets the controller decide by what is known now.
    pub(super) fn steer(&mut self, now: ClockReading) {
        let Some(mut controller) = self.discipline.take() else { return };
        controller.update(now, self.estimate(now));
        self.discipline = Some(controller);
    }

    fn estimate(&self, now: ClockReading) -> Option<Estimate> {
        let assessment = self.assess(now.raw);
        let window = assessment.window?;
        let leaps = self.leap_shift(window, now.raw);
        let bounds = window.widen(now.uncertainty) + now.difference() + leaps;
        let statistical = self.statistical(now, &assessment, bounds, leaps)?;
        let rate = self.oscillator.estimate().map(|_| self.oscillator.likely());
        Some(Estimate {
            offset: statistical.offset,
            sigma: statistical.sigma,
            rate: rate.map(|rate| Gain { value: rate.slope, sigma: rate.sigma }),
            bounds,
            state: assessment.state,
            leap: self.leap_warning(&assessment, now.raw),
            tai_offset_s: self.tai_offset(&assessment, now.raw),
            heard: self.last_heard(),
        })
    }

    pub(super) fn interrupt_steering(&mut self) {
        if let Some(controller) = &mut self.discipline {
            controller.interrupted();
        }
    }

    /// What the frequency that the controller set has added to the clock since the last reading.
    pub(super) fn steered_since(&mut self, now: ClockReading) -> Span {
        self.discipline.as_mut().map_or(Span::ZERO, |controller| controller.observe(now))
    }
}
