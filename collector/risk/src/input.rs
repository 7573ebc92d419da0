use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Bounds, Discipliner, Ppb, RateBounds, Span, SyncState, Timestamp, Utc, Verdict};

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
    /// How fast the system clock may gain or lose against UTC while nothing is heard: [`rate_limit`].
    pub rate_limit: Ppb,
    /// The point estimate of the error.
    pub offset: Span,
}

/// What a program that steers may add to the correction that a report showed, before the next one. In
/// steady state daemons correct tens of microseconds over minutes: well below.
const STEERING: Ppb = Ppb::from_ppm(5);

/// How fast a system clock may gain or lose against UTC: its oscillator's rate lies in `rates`, and the
/// kernel adds `correction` to it, so that a clock which is steered well hardly gains or loses at all.
///
/// The correction is that of the report. A step comes with a report of its own at once; a slew faster
/// than [`STEERING`] that begins between two reports shows in the later one only, and until then the
/// window may miss what it has moved: a few microseconds a second.
pub fn rate_limit(rates: RateBounds, correction: Ppb, discipliner: Discipliner) -> Ppb {
    let limit = (rates.lo() + correction).abs().max((rates.hi() + correction).abs());
    match discipliner {
        Discipliner::None => limit,
        _ => limit + STEERING,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(lo: i64, hi: i64, correction: i64, discipliner: Discipliner) -> i64 {
        let rates = RateBounds::new(Ppb::new(lo), Ppb::new(hi)).unwrap();
        rate_limit(rates, Ppb::new(correction), discipliner).as_ppb()
    }

    /// Proves that a correction which cancels the oscillator's measured rate leaves only what is not known
    /// of it, that one in the wrong direction adds to it, and that an unmeasured rate hides both.
    #[test]
    fn a_correction_counts_with_its_sign() {
        assert_eq!(limit(-21_000, -19_000, 20_000, Discipliner::None), 1_000);
        assert_eq!(limit(-21_000, -19_000, -20_000, Discipliner::None), 41_000);
        assert_eq!(limit(-50_000, 50_000, 20_000, Discipliner::None), 70_000);
    }

    /// Proves that a program which steers is allowed to change its mind a little.
    #[test]
    fn steering_has_a_margin() {
        assert_eq!(limit(-21_000, -19_000, 20_000, Discipliner::Chronyd), 6_000);
        assert_eq!(limit(-21_000, -19_000, 20_000, Discipliner::Agent), 6_000);
    }

    /// Proves that absurd rates saturate.
    #[test]
    fn absurd_rates_saturate() {
        assert_eq!(limit(i64::MIN, i64::MAX, i64::MIN, Discipliner::Chronyd), i64::MAX);
        assert_eq!(limit(i64::MAX, i64::MAX, i64::MAX, Discipliner::None), i64::MAX);
    }

    /// Proves that ten seconds after its report the window of a host that is steered well (oscillator
    /// −20 ± 1 ppm, corrected by +20 ppm) has grown by 1 ppm of that, not by both rates.
    #[test]
    fn the_window_of_a_well_steered_host_hardly_grows() {
        let ppm = Ppb::from_ppm;
        let rates = RateBounds::new(ppm(-21), ppm(-19)).unwrap();
        let start = Timestamp::from_ns(0);
        let bounds = Bounds::between(-Span::MICROSECOND, Span::MICROSECOND);
        let host = HostView {
            host_id: 1,
            name: String::new(),
            service: String::new(),
            simulated: false,
            enrolled_at: start,
            received_at: Some(start),
            state: SyncState::Synchronised,
            discipliner: Discipliner::None,
            window: Some(HostWindow {
                bounds,
                sampled_at: start,
                rate_limit: rate_limit(rates, ppm(20), Discipliner::None),
                offset: Span::ZERO,
            }),
            sources: Vec::new(),
        };
        let later = host.bounds_at(start + Span::from_secs(10), Span::from_secs(35)).unwrap();
        assert_eq!(later, bounds.widen(Span::from_ns(10_000)));
    }
}
