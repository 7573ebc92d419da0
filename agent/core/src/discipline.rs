//! Steering the system clock: what to tell the kernel so that `realtime − UTC` goes to zero.
//!
//! No phase-locked loop. The estimate is of `raw − UTC`, and the raw clock is not steered, so steering
//! never disturbs what is measured; `realtime − raw` can be read at any moment. So the frequency that
//! takes the clock to zero over a chosen time follows exactly: the one at which it stands still against
//! UTC, less offset / time. When that time is over the correction is taken back, whether or not a new
//! estimate came. All filtering is the estimator's.
//!
//! Nothing here touches a clock: what is wanted comes out as [`Steer`], and the shell says what became
//! of it.

mod controller;
mod leap_day;
mod obedience;

use core::fmt;

use timebase::{Bounds, Discipliner, Leap, Ppb, Raw, Span, SyncState, Timestamp};

pub(crate) use controller::Controller;

/// How far steering goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DisciplineConfig {
    /// Errors beyond this may be stepped away; smaller ones never are.
    pub step_threshold: Span,
    /// How many of the first updates may step; `None`: all of them.
    pub step_limit: Option<u32>,
    /// Errors beyond this are not corrected but reported; `None`: every error is corrected.
    pub panic_threshold: Option<Span>,
    /// The fastest slew, over what holds the clock still.
    pub max_slew: Ppb,
    /// Whether the kernel may count the clock as synchronised, and then copies it to the RTC every 11
    /// minutes: to Linux these are one thing.
    pub rtc_sync: bool,
    /// What an earlier run learned of the oscillator.
    pub learned: Option<LearnedFrequency>,
}

impl Default for DisciplineConfig {
    fn default() -> Self {
        Self {
            step_threshold: Span::from_millis(100),
            step_limit: Some(3),
            panic_threshold: Some(Span::from_secs(1000)),
            max_slew: Ppb::from_ppm(1000),
            rtc_sync: true,
            learned: None,
        }
    }
}

/// The correction that the oscillator needs, for the drift file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearnedFrequency {
    /// Parts per billion; negative for an oscillator that runs fast.
    pub ppb: f64,
    /// One standard deviation.
    pub sigma_ppb: f64,
}

/// What to tell the kernel about the system clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steer {
    /// Run at this frequency over nominal, parts per billion. Beyond ± 500 ppm it takes the tick, too.
    Frequency(f64),
    /// Set the clock by this much, positive forward.
    Step(Span),
    /// Say this to whoever asks the kernel.
    Status(ClockStatus),
}

/// What readers of `adjtimex` are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    /// Whether STA_UNSYNC is to be clear.
    pub synchronised: bool,
    /// The worst-case error.
    pub max_error: Span,
    /// The likely error.
    pub estimated_error: Span,
    /// What happens at the end of this UTC day.
    pub leap: Leap,
    /// TAI − UTC; `None`: leave it.
    pub tai_offset_s: Option<i32>,
}

/// Why the kernel was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteerError {
    /// The process may not set the clock.
    Permission,
    /// The frequency is not the one set last: somebody else steers.
    Foreign,
    /// Any other refusal, by its error number.
    Kernel(i32),
}

/// How steering stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// Not wanted.
    Off,
    /// Nothing is known yet to steer by.
    Waiting,
    /// The clock follows the estimate.
    Active,
    /// No source answers: the clock runs at the frequency learned.
    Holding,
    /// Not done.
    Refused(Refusal),
    /// The error is beyond the panic threshold: it is left to the operator.
    Panic(Span),
}

/// Why steering is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This daemon steers the clock.
    Daemon(Discipliner),
    /// The kernel or somebody unknown is against it.
    Error(SteerError),
}

impl Steering {
    /// Every state's word.
    pub const WORDS: [&'static str; 6] =
        ["off", "waiting", "active", "holding", "refused", "panic"];

    /// The word used in JSON and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Holding => "holding",
            Self::Refused(_) => "refused",
            Self::Panic(_) => "panic",
        }
    }

    /// Whether the clock runs at a frequency that the agent set.
    pub const fn steers(self) -> bool {
        matches!(self, Self::Active | Self::Holding | Self::Panic(_))
    }
}

/// One line for people.
impl fmt::Display for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off: the agent only observes"),
            Self::Waiting => f.write_str("waiting for a window to steer by"),
            Self::Active => f.write_str("active: the clock follows the estimate"),
            Self::Holding => f.write_str("holding the frequency learned: no source answers"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Panic(offset) => write!(
                f,
                "panic: the clock is off by {}, more than panic-threshold; set it by hand",
                offset.signed()
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon(daemon) => write!(f, "{} steers the clock", daemon.word()),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for SteerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission => f.write_str("no permission to set the clock (CAP_SYS_TIME)"),
            Self::Foreign => f.write_str("somebody else changed the clock's frequency"),
            Self::Kernel(number) => write!(f, "the kernel refuses (error {number})"),
        }
    }
}

/// What is known of the system clock at one moment, as the controller wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Host − UTC.
    pub(crate) offset: Span,
    /// One standard deviation.
    pub(crate) sigma: Span,
    /// Rate of the raw oscillator against UTC.
    pub(crate) rate: Option<Gain>,
    /// Worst case.
    pub(crate) bounds: Bounds,
    pub(crate) state: SyncState,
    pub(crate) leap: Leap,
    pub(crate) tai_offset_s: Option<i32>,
    /// When a source last answered: a new one makes a new estimate.
    pub(crate) heard: Option<Timestamp<Raw>>,
}

/// A rate as a fraction (1e-6 is one ppm; positive runs fast), with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gain {
    pub(crate) value: f64,
    pub(crate) sigma: f64,
}

impl Gain {
    /// Both together, each weighted by 1/σ².
    fn combined(self, other: Self) -> Self {
        let weight = |gain: Self| 1.0 / (gain.sigma * gain.sigma).max(1e-24);
        let (a, b) = (weight(self), weight(other));
        Self {
            value: (a * self.value + b * other.value) / (a + b),
            sigma: libm::sqrt(1.0 / (a + b)),
        }
    }
}

#[cfg(test)]
mod tests;
