use timebase::{Answer, Discipliner, Raw, Span, SyncState, Timestamp};

use super::obedience::Obedience;
use super::{
    ClockStatus, DisciplineConfig, Estimate, Gain, LearnedFrequency, Refusal, Steer, SteerError,
    Steering, leap_day,
};
use crate::ClockReading;

/// An offset is corrected by about the next update, within these limits: sooner would put the noise of
/// every estimate into the clock's rate, later would leave it standing.
const HORIZON: (Span, Span) = (Span::SECOND, Span::from_secs(16));
/// Between updates, offsets below this part of the estimate's σ are left alone.
const DEADBAND: f64 = 0.25;
/// How often the kernel's error bounds are renewed. It lets them grow by 500 µs a second by itself.
const STATUS_EVERY: Span = Span::from_millis(900);
/// After a refusal of the kernel, and after a frequency that somebody else set, steering rests: for as
/// long as daemons usually poll at most, so that one that is at work shows itself again.
const RETRY: (Span, Span) = (Span::from_secs(60), Span::from_secs(1024));
/// σ of a frequency from the drift file at least: oscillators do not come back to the same after a boot.
const REMEMBERED: f64 = 1e-6;
/// σ of the frequency found in the kernel: somebody has learned it, who knows when.
const FOUND: f64 = 5e-6;
/// σ of nothing known.
const UNKNOWN: f64 = 50e-6;
/// A better frequency at rest is set when it differs by this.
const WORTH_SETTING: f64 = 1e-9;
/// The kernel's limits: frequency alone, and with the tick.
const FREQUENCY_LIMIT: f64 = 500e-6;
const TICK_LIMIT: f64 = 0.1;

/// Decides what to tell the kernel, from estimates.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    config: DisciplineConfig,
    state: Steering,
    /// Rate of the raw oscillator before anything is measured, and as known now.
    prior: Gain,
    rate: Gain,
    clock: Obedience,
    /// `gained` at the last reading.
    gained_before: f64,
    /// End of the phase correction under way.
    slew_until: Option<Timestamp<Raw>>,
    updates: u32,
    heard: Option<Timestamp<Raw>>,
    last_update: Option<Timestamp<Raw>>,
    /// What was said last, and when.
    said: Option<(ClockStatus, Timestamp<Raw>)>,
    retry_at: Option<Timestamp<Raw>>,
    wanted: Wanted,
    /// Handed out, and not yet answered.
    asked: Option<Steer>,
}

/// What is to be told next.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    step: Option<Span>,
    frequency: Option<f64>,
    status: Option<ClockStatus>,
}

impl Controller {
    pub(crate) fn new(config: DisciplineConfig, now: Timestamp<Raw>) -> Self {
        let prior = config.learned.map_or(Gain { value: 0.0, sigma: UNKNOWN }, |learned| Gain {
            value: -learned.ppb * 1e-9,
            sigma: (learned.sigma_ppb * 1e-9).max(REMEMBERED),
        });
        Self {
            config,
            state: Steering::Waiting,
            prior,
            rate: prior,
            clock: Obedience::new(now),
            gained_before: 0.0,
            slew_until: None,
            updates: 0,
            heard: None,
            last_update: None,
            said: None,
            retry_at: None,
            wanted: Wanted::default(),
            asked: None,
        }
    }

    pub(crate) fn state(&self) -> Steering {
        self.state
    }

    /// What was learned of the oscillator; `None` before anything was.
    pub(crate) fn learned(&self) -> Option<LearnedFrequency> {
        (self.rate.sigma < self.prior.sigma).then_some(LearnedFrequency {
            ppb: -self.rate.value * 1e9,
            sigma_ppb: self.rate.sigma * 1e9,
        })
    }

    /// Who else steers, and the kernel's present frequency.
    pub(crate) fn handle_discipliner(
        &mut self,
        now: Timestamp<Raw>,
        other: Discipliner,
        kernel_ppb: f64,
    ) {
        let rests = self.retry_at.is_some_and(|at| now < at);
        match (other, self.state) {
            (Discipliner::None | Discipliner::Agent, Steering::Waiting) => {
                self.take_over(now, kernel_ppb);
            }
            (Discipliner::None | Discipliner::Agent, Steering::Refused(_)) if !rests => {
                self.take_over(now, kernel_ppb);
            }
            (Discipliner::None | Discipliner::Agent, _) => {}
            (daemon, _) => {
                if self.state.steers() {
                    self.coast();
                }
                self.wanted = Wanted { frequency: self.wanted.frequency, ..Wanted::default() };
                self.state = Steering::Refused(Refusal::Daemon(daemon));
            }
        }
    }

    /// The clock was read. Gives back what its frequency has added since the last reading.
    pub(crate) fn observe(&mut self, reading: ClockReading) -> Span {
        self.clock.observe(reading);
        let gained = self.clock.gained(reading.raw);
        let since = gained - core::mem::replace(&mut self.gained_before, gained);
        Span::from_secs_f64(since)
    }

    /// The clock was set, or the host slept: a correction under way makes no sense any more.
    pub(crate) fn interrupted(&mut self) {
        self.clock.interrupted();
        if self.state.steers() {
            self.coast();
        }
    }

    /// No more corrections; the clock is left at the frequency learned.
    pub(crate) fn release(&mut self) {
        self.interrupted();
        self.wanted.step = None;
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp<Raw>> {
        self.slew_until
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp<Raw>) {
        if self.slew_until.is_some_and(|until| until <= now) {
            self.coast();
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Steer> {
        if self.asked.is_some() {
            return None;
        }
        let Wanted { step, frequency, status } = &mut self.wanted;
        self.asked = None
            .or_else(|| frequency.take().map(Steer::Frequency))
            .or_else(|| step.take().map(Steer::Step))
            .or_else(|| status.take().map(Steer::Status));
        self.asked
    }

    /// What became of the last [`Steer`]; the step made, if it was one.
    pub(crate) fn handle_steered(
        &mut self,
        now: Timestamp<Raw>,
        result: Result<(), SteerError>,
    ) -> Option<Span> {
        let asked = self.asked.take()?;
        if let Err(error) = result {
            self.refused(now, error);
            return None;
        }
        match asked {
            Steer::Frequency(ppb) => self.clock.set(now, ppb * 1e-9),
            Steer::Step(by) => {
                self.clock.interrupted();
                return Some(by);
            }
            Steer::Status(status) => self.said = Some((status, now)),
        }
        None
    }

    /// Decides by what is known at `reading`; without an estimate there is no window.
    pub(crate) fn update(&mut self, reading: ClockReading, estimate: Option<Estimate>) {
        if matches!(self.state, Steering::Refused(_)) || self.wanted.step.is_some() {
            return;
        }
        let now = reading.raw;
        let Some(estimate) = estimate.filter(|e| e.state == SyncState::Synchronised) else {
            if self.state.steers() {
                if self.slew_until.is_some() || self.has_learned() {
                    self.coast();
                }
                self.state = Steering::Holding;
                self.say(reading, estimate);
            }
            return;
        };
        if let Some(measured) = estimate.rate {
            self.rate = self.prior.combined(measured);
        }
        let fresh = estimate.heard != self.heard;
        let beyond = |limit: Span| estimate.bounds.beyond(limit) == Answer::Certain;
        if self.config.panic_threshold.is_some_and(beyond) {
            if self.slew_until.is_some() {
                self.coast();
            }
            self.state = Steering::Panic(estimate.offset);
        } else {
            self.state = Steering::Active;
            if fresh || self.is_off(reading, &estimate) {
                self.correct(now, &estimate, fresh);
            }
        }
        self.heard = estimate.heard;
        self.say(reading, Some(estimate));
    }

    fn take_over(&mut self, now: Timestamp<Raw>, kernel_ppb: f64) {
        self.clock.interrupted();
        self.clock.set(now, kernel_ppb * 1e-9);
        self.gained_before = self.clock.gained(now);
        if self.prior.sigma >= UNKNOWN && kernel_ppb != 0.0 {
            self.prior = Gain { value: -kernel_ppb * 1e-9, sigma: FOUND };
            self.rate = self.prior;
        }
        (self.slew_until, self.said, self.retry_at) = (None, None, None);
        (self.wanted, self.state) = (Wanted::default(), Steering::Waiting);
    }

    fn refused(&mut self, now: Timestamp<Raw>, error: SteerError) {
        let (again, quiet) = RETRY;
        let wait = if error == SteerError::Foreign { quiet } else { again };
        self.retry_at = Some(now + wait);
        (self.wanted, self.slew_until) = (Wanted::default(), None);
        self.state = Steering::Refused(Refusal::Error(error));
    }

    /// The frequency at which the clock keeps its distance from UTC, as a fraction.
    fn at_rest(&self) -> f64 {
        // (1 + frequency + excess) · (1 + rate) = 1
        -self.rate.value / (1.0 + self.rate.value) - self.clock.excess()
    }

    /// Whether the clock has come to rest beside its aim, by more than can be told from noise.
    fn is_off(&self, reading: ClockReading, estimate: &Estimate) -> bool {
        let noise = DEADBAND * estimate.sigma.as_secs_f64() + reading.uncertainty.as_secs_f64();
        self.slew_until.is_none() && estimate.offset.as_secs_f64().abs() > noise
    }

    fn correct(&mut self, now: Timestamp<Raw>, estimate: &Estimate, fresh: bool) {
        // Between updates what is corrected was read off the clocks, and is no noise.
        let mut horizon = HORIZON.0;
        if fresh {
            let since = self.last_update.map_or(Span::ZERO, |last| now - last);
            horizon = since.clamp(HORIZON.0, HORIZON.1);
            self.updates = self.updates.saturating_add(1);
            self.last_update = Some(now);
        }
        if self.may_step(estimate) {
            self.wanted.step = Some(-estimate.offset);
            self.coast();
            return;
        }
        let offset = estimate.offset.as_secs_f64();
        let fastest = self.config.max_slew.abs().as_ppb() as f64 * 1e-9;
        let limit = if fastest > FREQUENCY_LIMIT { TICK_LIMIT } else { FREQUENCY_LIMIT };
        let rest = self.at_rest();
        let slew = (-offset / horizon.as_secs_f64()).clamp(-fastest, fastest);
        let frequency = (rest + slew).clamp(-limit, limit);
        let lasts = offset / (rest - frequency);
        if lasts.is_finite() && lasts > 0.0 {
            self.slew_until = Some(now + Span::from_secs_f64(lasts));
        }
        self.want(frequency);
    }

    /// Steps are for errors that are certain, and for the first updates.
    fn may_step(&self, estimate: &Estimate) -> bool {
        let among_the_first = self.config.step_limit.is_none_or(|limit| self.updates <= limit);
        let error = estimate.offset.abs();
        among_the_first
            && error > self.config.step_threshold
            && !estimate.bounds.contains(Span::ZERO)
    }

    /// Whether the clock could be held better than by the frequency in force.
    fn has_learned(&self) -> bool {
        (self.at_rest() - self.clock.frequency()).abs() > WORTH_SETTING
    }

    /// Ends the phase correction; the frequency stays.
    fn coast(&mut self) {
        self.slew_until = None;
        self.want(self.at_rest());
    }

    fn want(&mut self, frequency: f64) {
        let limit = TICK_LIMIT;
        self.wanted.frequency = Some(frequency.clamp(-limit, limit) * 1e9);
    }

    /// Renews what readers of `adjtimex` see. Only a synchronised clock is called so; in holdover that
    /// stays while the window is held, and the bounds grow with it.
    fn say(&mut self, reading: ClockReading, estimate: Option<Estimate>) {
        let was = self.said.is_some_and(|(said, _)| said.synchronised);
        let holds = match estimate.map(|estimate| estimate.state) {
            Some(SyncState::Synchronised) => matches!(self.state, Steering::Active),
            Some(SyncState::Holdover) => was,
            _ => false,
        };
        let status = ClockStatus {
            synchronised: holds && self.config.rtc_sync,
            max_error: estimate.map_or(Span::MAX, |e| e.bounds.magnitude()),
            estimated_error: estimate.map_or(Span::MAX, |e| e.offset.abs() + e.sigma),
            leap: estimate.map_or(timebase::Leap::None, |e| {
                leap_day::due(reading.realtime.corrected(e.offset), e.leap)
            }),
            tai_offset_s: estimate.and_then(|e| e.tai_offset_s),
        };
        let stale = self.said.is_none_or(|(said, at)| {
            reading.raw - at >= STATUS_EVERY
                || (said.synchronised, said.leap) != (status.synchronised, status.leap)
        });
        if stale {
            self.wanted.status = Some(status);
        }
    }
}
