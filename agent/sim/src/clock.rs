use timebase::{Host, Raw, Span, Timestamp, Utc};

use crate::Rng;

/// Whether a (simulated) daemon steers the system clock.
#[derive(Clone, Copy, Debug)]
pub enum Steering {
    /// It corrects the clock every `every`, aiming `aim` away from true time and missing by about
    /// `noise`.
    Every {
        /// Time between corrections.
        every: Span,
        /// Where it steers to: clock − UTC.
        aim: Span,
        /// Standard deviation of what it believes the error to be.
        noise: Span,
    },
    /// The agent does, by `discipline` in the engine's settings.
    Agent,
    /// Nobody does: the clock runs with the crystal.
    None,
}

/// A host's CLOCK_REALTIME: the crystal, a rate correction, and steps.
#[derive(Clone, Debug)]
pub struct SystemClock {
    steering: Steering,
    raw: Timestamp<Raw>,
    realtime: Timestamp<Host>,
    correction_ppm: f64,
    rest_ns: f64,
    next_correction: Timestamp<Utc>,
    rng: Rng,
}

impl SystemClock {
    /// A clock that shows `realtime` when the crystal shows `raw`, at true time `at`.
    pub fn new(
        at: Timestamp<Utc>,
        raw: Timestamp<Raw>,
        realtime: Timestamp<Host>,
        rate_ppm: f64,
        steering: Steering,
        rng: Rng,
    ) -> Self {
        // A daemon that has run for a while knows the crystal's rate.
        let correction_ppm = match steering {
            Steering::Every { .. } => -rate_ppm,
            Steering::Agent | Steering::None => 0.0,
        };
        Self { steering, raw, realtime, correction_ppm, rest_ns: 0.0, next_correction: at, rng }
    }

    /// When the daemon acts next.
    pub fn next_correction(&self) -> Option<Timestamp<Utc>> {
        matches!(self.steering, Steering::Every { .. }).then_some(self.next_correction)
    }

    /// What the clock shows when the crystal shows `raw`.
    pub fn advance(&mut self, raw: Timestamp<Raw>) -> Timestamp<Host> {
        let elapsed = raw - self.raw;
        if elapsed > Span::ZERO {
            let gained = elapsed.as_ns() as f64 * self.correction_ppm * 1e-6 + self.rest_ns;
            let whole = libm::floor(gained);
            self.rest_ns = gained - whole;
            self.realtime = self.realtime + elapsed + Span::from_ns(whole as i64);
            self.raw = raw;
        }
        self.realtime
    }

    /// Lets the daemon look at the error at true time `at`, when UTC is `utc`, and slew it away until it
    /// looks again, within 500 ppm as the kernel allows.
    pub fn steer(&mut self, at: Timestamp<Utc>, utc: Timestamp<Utc>, rate_ppm: f64) {
        let Steering::Every { every, aim, noise } = self.steering else { return };
        let error = self.realtime.error_against(utc) - aim;
        let seen = error.as_secs_f64() + noise.as_secs_f64() * self.rng.normal();
        let slew_ppm = -seen / every.as_secs_f64() * 1e6 / 2.0;
        self.correction_ppm = (slew_ppm - rate_ppm).clamp(-500.0, 500.0);
        self.next_correction = at + every;
    }

    /// Runs at this frequency over nominal from now on, as the kernel's adjtimex does.
    pub const fn set_frequency(&mut self, ppb: f64) {
        self.correction_ppm = ppb / 1000.0;
    }

    /// The frequency over nominal, parts per billion.
    pub const fn frequency(&self) -> f64 {
        self.correction_ppm * 1000.0
    }

    /// Sets the clock forward or back, as a person or a daemon would.
    pub fn step(&mut self, by: Span) {
        self.realtime = self.realtime + by;
    }
}
