use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Bounds, Discipliner, Ppb, Span, SyncState, Timestamp, Utc, Verdict};

/// How far apart the clocks of two collectors on one database may be.
const CLOCK_SLACK: Span = Span::from_secs(2);

/// The fleet at one moment: everything that the rules may know.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetView {
    /// The collector's time of the snapshot. Every window is aged to it before it is compared.
    pub reference_time: Timestamp<Utc>,
    /// Since when somebody has been listening: silence while nobody listened is not the hosts'.
    pub watching_since: Timestamp<Utc>,
    /// Every host whose credential is valid; a revoked host is not watched.
    pub hosts: Vec<HostView>,
}

/// What is known about one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostView {
    /// The store's number of the host.
    pub host_id: i64,
    /// Its name, as its agent gives it.
    pub name: String,
    /// Its service, from the agent's configuration; may be empty.
    pub service: String,
    /// Whether it is a host of the simulated fleet.
    pub simulated: bool,
    /// When it enrolled: the start of the silence of a host that never reported.
    pub enrolled_at: Timestamp<Utc>,
    /// When the newest batch came in; `None` if there never was one.
    pub received_at: Option<Timestamp<Utc>>,
    /// Its synchronisation state.
    pub state: SyncState,
    /// The program that steers its clock.
    pub discipliner: Discipliner,
    /// Its newest worst-case window; `None` if its newest report has none.
    pub window: Option<HostWindow>,
    /// Its time sources, in the order of its configuration.
    pub sources: Vec<SourceFact>,
}

/// A worst-case window of a host's clock at the moment of its newest sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostWindow {
    /// Host clock − UTC at `sampled_at`.
    pub bounds: Bounds,
    /// Collector's time of the sample.
    pub sampled_at: Timestamp<Utc>,
    /// How fast the system clock may gain or lose against UTC while nothing is heard: the drift limit of
    /// its oscillator and the correction that the kernel applied at the sample. A step comes with a
    /// report of its own at once; a daemon that begins to slew faster shows in the next report.
    pub rate_limit: Ppb,
    /// The point estimate of the error.
    pub offset: Span,
}

/// What advice needs to know about a time source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFact {
    /// The name it was configured with.
    pub name: String,
    /// What the host's selection decided about it.
    pub verdict: Verdict,
}

impl HostView {
    /// The bounds of the clock's error at `at`, widened for the age of the sample; `None` without a
    /// window or if it is older than `max_age`.
    pub fn bounds_at(&self, at: Timestamp<Utc>, max_age: Span) -> Option<Bounds> {
        let window = self.window?;
        let age = at - window.sampled_at;
        // Made "later" than now by more than clocks of collectors differ: the collector's own clock was set
        // back, and no age can be told.
        let told = age <= max_age && age >= -CLOCK_SLACK;
        told.then(|| window.bounds.aged(age, window.rate_limit))
    }

    /// When the host was last heard of.
    pub fn last_heard(&self) -> Timestamp<Utc> {
        self.received_at.unwrap_or(self.enrolled_at)
    }
}
