use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{
    Bounds, Host, Leap, Ppb, RateBounds, Raw, Seq, SmearState, SourceReport, Span, Timestamp, Utc,
    Verdict,
};

/// Whether the host's time can be trusted, and on what grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// No window yet.
    Starting,
    /// A majority of sources answers.
    Synchronised,
    /// No source answers now; the window grows from the last that did.
    Holdover,
    /// No source ever answered, or the window has grown beyond use.
    FreeRunning,
    /// The system clock was stepped within the last report interval.
    Stepped,
}

impl SyncState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Starting, Self::Synchronised, Self::Holdover, Self::FreeRunning, Self::Stepped];

    /// The word used in pages, JSON, SQL and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Synchronised => "synchronised",
            Self::Holdover => "holdover",
            Self::FreeRunning => "free-running",
            Self::Stepped => "stepped",
        }
    }

    /// The state a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// Who steers the system clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipliner {
    /// Nobody that was recognised.
    None,
    /// chronyd.
    Chronyd,
    /// systemd-timesyncd.
    Timesyncd,
    /// ntpd (classic or NTPsec).
    Ntpd,
    /// ntpd-rs.
    NtpdRs,
    /// ptp4l with phc2sys.
    Ptp4l,
    /// The agent itself.
    Agent,
}

impl Discipliner {
    /// Every discipliner.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Chronyd,
        Self::Timesyncd,
        Self::Ntpd,
        Self::NtpdRs,
        Self::Ptp4l,
        Self::Agent,
    ];

    /// The name used in pages, JSON, SQL and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Chronyd => "chronyd",
            Self::Timesyncd => "timesyncd",
            Self::Ntpd => "ntpd",
            Self::NtpdRs => "ntpd-rs",
            Self::Ptp4l => "ptp4l",
            Self::Agent => "agent",
        }
    }

    /// The discipliner a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.word() == word)
    }
}

/// What the kernel says about the system clock (`adjtimex`, read only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelClock {
    /// Whether STA_UNSYNC is clear.
    pub synchronised: bool,
    /// `maxerror`: the kernel's own bound, grown by 500 ppm since the last update.
    pub max_error: Span,
    /// `esterror`.
    pub estimated_error: Span,
    /// Rate correction applied to the system clock.
    pub frequency: Ppb,
    /// Status bits, as the kernel gives them.
    pub status: u32,
    /// TAI − UTC in seconds; 0 when never set.
    pub tai_offset_s: i32,
}

/// An estimate with its own statistics: never a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistical {
    /// Point estimate of the host clock's error.
    pub offset: Span,
    /// One standard deviation of the estimate.
    pub sigma: Span,
    /// How many standard deviations `window` is wide on each side.
    pub k: f64,
    /// How many exchanges the estimate rests on.
    pub samples: u32,
}

impl Statistical {
    /// `offset ± k·sigma`.
    pub fn window(&self) -> Bounds {
        Bounds::around(self.offset, Span::from_secs_f64(self.sigma.as_secs_f64() * self.k))
    }
}

/// What an agent knows at one moment: the unit that is spooled, sent, stored and acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Number within (host, boot).
    pub seq: Seq,
    /// How often since boot the system clock was set, or may have been while the host slept or no agent
    /// ran; with the boot id, the clock epoch.
    pub steps: u32,
    /// The most that the system clock strayed, since the report before, from the straight line over the raw
    /// clock between the two. `None`: it was set since, this is the agent's first, or nobody looked.
    pub stray: Option<Span>,
    /// CLOCK_MONOTONIC_RAW at the moment of the report.
    pub raw: Timestamp<Raw>,
    /// CLOCK_REALTIME at that same moment.
    pub realtime: Timestamp<Host>,
    /// Worst-case bounds of the system clock's error at that moment.
    pub bounds: Option<Bounds>,
    /// The estimate and its statistical window.
    pub statistical: Option<Statistical>,
    /// Rate of the raw oscillator against UTC.
    pub frequency: Option<Ppb>,
    /// One standard deviation of `frequency`.
    pub frequency_sigma: Option<Ppb>,
    /// The drift limit that the bounds assume: the largest magnitude of `rate`.
    pub drift_limit: Ppb,
    /// The interval of the raw oscillator's rate that the bounds assume: measured, within `± drift_ceiling`.
    pub rate: RateBounds,
    /// The configured limit, in use until a narrower one is measured.
    pub drift_ceiling: Ppb,
    /// How the window is held.
    pub state: SyncState,
    /// Leap warning by majority of the sources that take part.
    pub leap: Leap,
    /// How the sources that take part treat leap seconds.
    pub smear: SmearState,
    /// TAI − UTC in seconds by the leap second table; `None` without one that is valid.
    pub tai_offset_s: Option<i32>,
    /// Who steers the system clock.
    pub discipliner: Discipliner,
    /// The kernel's own view.
    pub kernel: KernelClock,
    /// Every source with its verdict.
    pub sources: Vec<SourceReport>,
    /// What happened since the last report.
    pub events: Vec<Event>,
}

/// Something that happened at one moment on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// CLOCK_MONOTONIC_RAW when it was noticed.
    pub raw: Timestamp<Raw>,
    /// CLOCK_REALTIME when it was noticed (after the step, for a step).
    pub realtime: Timestamp<Host>,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The agent started; `reboot` if the boot id is a new one.
    Started {
        /// Whether this is the first start since the host booted.
        reboot: bool,
    },
    /// The system clock was stepped by `by` (positive: forward).
    Step {
        /// Size and direction.
        by: Span,
    },
    /// The host was suspended, or its virtual machine paused, for `lasted`.
    Suspended {
        /// How long.
        lasted: Span,
    },
    /// A source got another verdict.
    SourceChanged {
        /// The name it was configured with.
        source: String,
        /// Before.
        from: Verdict,
        /// After.
        to: Verdict,
    },
    /// The leap warning changed.
    LeapChanged {
        /// After.
        to: Leap,
    },
    /// The agent could not keep reports and dropped the oldest, unsent ones.
    ReportsDropped {
        /// How many.
        count: u64,
    },
}

impl EventKind {
    /// The word used in pages, JSON, SQL and on the wire.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Started { reboot: true } => "reboot",
            Self::Started { reboot: false } => "restart",
            Self::Step { .. } => "step",
            Self::Suspended { .. } => "suspend",
            Self::SourceChanged { .. } => "source",
            Self::LeapChanged { .. } => "leap",
            Self::ReportsDropped { .. } => "dropped",
        }
    }
}

/// One sentence for people.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { reboot: true } => f.write_str("the host booted"),
            Self::Started { reboot: false } => f.write_str("the agent was restarted"),
            Self::Step { by } if by.is_negative() => {
                write!(f, "the clock was stepped back by {}", by.abs())
            }
            Self::Step { by } => write!(f, "the clock was stepped forward by {by}"),
            Self::Suspended { lasted } => write!(f, "the host was suspended for {lasted}"),
            Self::SourceChanged { source, from, to } => {
                write!(f, "source {source} went from {from} to {to}: it {}", to.explanation())
            }
            Self::LeapChanged { to } => f.write_str(match to {
                Leap::None => "the leap second warning was withdrawn",
                Leap::Insert => "sources announce an inserted leap second",
                Leap::Delete => "sources announce a deleted leap second",
                Leap::Unsynchronised => "sources say that they are not synchronised",
            }),
            Self::ReportsDropped { count } => {
                write!(f, "{count} unsent reports were dropped because the spool was full")
            }
        }
    }
}

/// The four stamps that a batch and its acknowledgement carry: an exchange between host and collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WitnessStamps {
    /// Host clock when the batch was sent.
    pub t1: Timestamp<Host>,
    /// Collector clock when it was received.
    pub t2: Timestamp<Utc>,
    /// Collector clock when the acknowledgement was sent.
    pub t3: Timestamp<Utc>,
    /// Host clock when the acknowledgement arrived.
    pub t4: Timestamp<Host>,
}
