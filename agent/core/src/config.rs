use alloc::string::String;

use timebase::{Ppb, Span};

use crate::DisciplineConfig;

/// What the engine assumes and how far it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// ρ: the most that the raw oscillator may run fast or slow. Worst-case bounds rest on it.
    pub drift_limit: Ppb,
    /// Answers that claim a larger root distance are refused (RFC 5905 MAXDIST is 1.5 s; wider here,
    /// because a wide bound is still a true one).
    pub max_root_distance: Span,
    /// A window held without sources becomes free-running when it is wider than this.
    pub max_window: Span,
    /// How early or late servers may apply a leap second: answers this near to it are not used.
    pub leap_ambiguity: Span,
    /// How many standard deviations the statistical window has on each side.
    pub sigma_k: f64,
    /// Whether and how far to steer the system clock; `None`: never.
    pub discipline: Option<DisciplineConfig>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            drift_limit: Ppb::from_ppm(50),
            max_root_distance: Span::from_secs(3),
            max_window: Span::SECOND,
            leap_ambiguity: Span::from_secs(5),
            sigma_k: 3.0,
            discipline: None,
        }
    }
}

/// One NTP server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// `host[:port]` as configured; the shell resolves it.
    pub name: String,
    /// Shortest poll interval, log2 seconds; −4 (62.5 ms) to 17 (36 h).
    pub min_poll_log2: i8,
    /// Longest poll interval, log2 seconds; −4 to 17.
    pub max_poll_log2: i8,
    /// Whether to start with a burst of four quick requests.
    pub iburst: bool,
}

/// A source's number, in the order of [`crate::Engine::add_source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);
