use alloc::string::String;

use timebase::{Ppb, Span};

use crate::DisciplineConfig;
use crate::ntp::SymmetricKey;

/// What the engine assumes and how far it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// ρ: the most that the raw oscillator may run fast or slow. Worst-case bounds rest on it.
    pub drift_limit: Ppb,
    /// The rate that is measured within that limit may change by this much from one hour to the next,
    /// even if it was never seen to change. At the drift limit, measuring narrows nothing, and no jump of
    /// the rate can surprise.
    pub rate_change: Ppb,
    /// Answers that claim a larger root distance are refused (RFC 5905 MAXDIST is 1.5 s; wider here,
    /// because a wide bound is still a true one).
    pub max_root_distance: Span,
    /// How many sources may be wrong at once, at most a minority of those that take part. Fewer make a
    /// narrower window and believe more.
    pub faults: usize,
    /// There is no window unless so many sources agree.
    pub min_sources: usize,
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
            rate_change: Ppb::from_ppm(1),
            max_root_distance: Span::from_secs(3),
            faults: usize::MAX,
            min_sources: 1,
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
    /// Whether to send such a burst at every poll, as long as the server answers.
    pub burst: bool,
    /// Whether to use the server's exact sending stamps (RFC 9769) if it gives them.
    pub interleaved: bool,
    /// How its answers prove who sent them.
    pub auth: AuthConfig,
    /// What part it takes in the selection.
    pub options: SourceOptions,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            min_poll_log2: 6,
            max_poll_log2: 8,
            iburst: true,
            burst: false,
            interleaved: true,
            auth: AuthConfig::None,
            options: SourceOptions::default(),
        }
    }
}

/// How the packets of a source are authenticated. Answers that are not, as configured, are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuthConfig {
    /// Not at all.
    #[default]
    None,
    /// By a key that client and server share.
    Key(SymmetricKey),
    /// By Network Time Security (RFC 8915).
    Nts,
}

/// What part a source takes in the selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// Only watch it.
    pub noselect: bool,
    /// Estimate from this one and others preferred, while they agree.
    pub prefer: bool,
    /// It is right where sources that are not trusted contradict it.
    pub trust: bool,
    /// No window without it.
    pub require: bool,
}

/// A source's number, in the order of [`crate::Engine::add_source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);
