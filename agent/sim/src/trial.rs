use timebase::{Bounds, EventKind, Report, Span, SyncState, Timestamp, Utc, Verdict};

use crate::{Fault, HostConfig, Leap, SimHost, SimReport, SourceLink};

/// When trials begin: 2027-01-15T08:00:00Z.
const START: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
/// A host that is watched: at every report, and every second between, its window is held against the
/// truth.
pub struct Trial {
    host: SimHost,
    start: Timestamp<Utc>,
    now: Timestamp<Utc>,
    strict: bool,
    naive_drift_ppm: f64,
    look_every: Span,
    /// Since when the host, while up, has had no window.
    blind_since: Option<Timestamp<Utc>>,
    /// Every report so far.
    pub reports: Vec<SimReport>,
    /// What was seen so far.
    pub tally: Tally,
}

/// What a [`Trial`] has counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Looks at the host while it was up.
    pub looks: u64,
    /// Looks that found a worst-case window.
    pub windows: u64,
    /// Worst-case windows without the truth inside.
    pub wrong: u64,
    /// Statistical windows, and those with the truth inside.
    pub statistical: (u64, u64),
    /// Windows of the simple client that believes the first source, and those without the truth inside.
    pub naive: (u64, u64),
    /// The widest worst-case window.
    pub widest: Span,
    /// The longest time without a worst-case window while the host was up and a source answered.
    pub longest_gap: Span,
    /// Sums over all windows: half-widths, squared errors of the point estimate; seconds.
    sums: (f64, f64),
    /// The first window without the truth inside, in words.
    pub first_wrong: Option<String>,
}

impl Tally {
    /// Root mean square of the point estimate's error.
    pub fn rms(&self) -> Span {
        Span::from_secs_f64((self.sums.1 / self.statistical.0.max(1) as f64).sqrt())
    }

    /// Mean half-width of the worst-case window.
    pub fn half_width(&self) -> Span {
        Span::from_secs_f64(self.sums.0 / self.windows.max(1) as f64)
    }

    /// Share of looks with a worst-case window.
    pub fn availability(&self) -> f64 {
        self.windows as f64 / self.looks.max(1) as f64
    }

    /// Share of statistical windows with the truth inside.
    pub fn likely(&self) -> f64 {
        self.statistical.1 as f64 / self.statistical.0.max(1) as f64
    }
}

impl Trial {
    /// A host that must be honest: the first window without the truth inside ends the test.
    pub fn honest(config: HostConfig) -> Self {
        Self::new(config, true, START)
    }

    /// The same, from another moment on.
    pub fn honest_from(start: Timestamp<Utc>, config: HostConfig) -> Self {
        Self::new(config, true, start)
    }

    /// A host that is only counted, from another moment on.
    pub fn unguarded_from(start: Timestamp<Utc>, config: HostConfig) -> Self {
        Self::new(config, false, start)
    }

    /// A host that may be wrong: it is only counted. For worlds outside the fault model.
    pub fn unguarded(config: HostConfig) -> Self {
        Self::new(config, false, START)
    }

    fn new(config: HostConfig, strict: bool, start: Timestamp<Utc>) -> Self {
        Self {
            host: SimHost::new(config, start),
            start,
            now: start,
            strict,
            // RFC 5905's PHI.
            naive_drift_ppm: 15.0,
            look_every: Span::SECOND,
            blind_since: None,
            reports: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// The drift that the simple client takes for granted.
    #[must_use]
    pub fn naive_drift_ppm(mut self, ppm: f64) -> Self {
        self.naive_drift_ppm = ppm;
        self
    }

    /// Looks at the window this often between reports, instead of every second.
    #[must_use]
    pub fn looking_every(mut self, interval: Span) -> Self {
        self.look_every = interval;
        self
    }

    /// Lets the world run for that long.
    pub fn run(&mut self, length: Span) -> &mut Self {
        let end = self.now + length;
        while self.now < end {
            self.now = end.min(self.now + self.look_every);
            let mut fresh = Vec::new();
            self.host.advance(self.now, &mut fresh);
            for made in &fresh {
                self.look(made);
            }
            self.reports.append(&mut fresh);
            if let Some(made) = self.host.status(self.now) {
                self.look(&made);
                self.look_naive(&made);
                self.look_for_gaps(made.report.bounds.is_some());
            } else {
                self.blind_since = None;
            }
        }
        self
    }

    /// Lets the world run until `done`, at most `longest`; how long it took, if it came to that.
    pub fn until(&mut self, longest: Span, done: impl Fn(&Report) -> bool) -> Option<Span> {
        let begun = self.now;
        while self.now - begun < longest {
            self.run(Span::SECOND);
            if self.host.status(self.now).is_some_and(|made| done(&made.report)) {
                return Some(self.now - begun);
            }
        }
        None
    }

    /// Something goes wrong now.
    pub fn inflict(&mut self, fault: Fault) -> &mut Self {
        self.host.inflict(self.now, fault);
        self
    }

    /// One of the host's sources, to be changed.
    pub fn link(&mut self, source: usize) -> &mut SourceLink {
        self.host.link_mut(source)
    }

    /// The host as it is now.
    pub fn host(&mut self) -> &mut SimHost {
        &mut self.host
    }

    /// What the host would report now.
    ///
    /// # Panics
    /// If it is down.
    pub fn look_now(&mut self) -> SimReport {
        self.host.status(self.now).expect("the host is up")
    }

    /// The worst-case window now.
    pub fn window(&mut self) -> Option<Bounds> {
        self.look_now().report.bounds
    }

    /// The width of the worst-case window now; unlimited without one.
    pub fn width(&mut self) -> Span {
        self.window().map_or(Span::MAX, Bounds::width)
    }

    /// The state now.
    pub fn state(&mut self) -> SyncState {
        self.look_now().report.state
    }

    /// The verdict on one source now.
    pub fn verdict(&mut self, source: usize) -> Verdict {
        self.look_now().report.sources[source].verdict
    }

    /// Whether the window of a host that is alone with its belief has lost the truth now.
    pub fn is_wrong(&mut self) -> bool {
        let made = self.look_now();
        made.report.bounds.is_some_and(|bounds| !bounds.contains(made.true_error))
    }

    /// Every event reported so far.
    pub fn events(&self) -> impl Iterator<Item = &EventKind> {
        self.reports.iter().flat_map(|made| &made.report.events).map(|event| &event.kind)
    }

    /// Begins to count anew: what went before was another phase.
    pub fn recount(&mut self) -> &mut Self {
        self.tally = Tally::default();
        self
    }

    fn look(&mut self, made: &SimReport) {
        let into_leap = |leap: Leap| made.at - self.start - leap.after;
        let leap = self.host.config().leap.map(into_leap);
        if leap.is_some_and(|into| Span::ZERO <= into && into <= Span::SECOND) {
            // Within a leap second, one reading of the clock means two moments.
            return;
        }
        let tally = &mut self.tally;
        tally.looks += 1;
        let Some(bounds) = made.report.bounds else { return };
        tally.windows += 1;
        tally.widest = tally.widest.max(bounds.width());
        tally.sums.0 += bounds.width().as_secs_f64() / 2.0;
        if let Some(statistical) = made.report.statistical {
            let error = (statistical.offset - made.true_error).as_secs_f64();
            tally.sums.1 += error * error;
            tally.statistical.0 += 1;
            tally.statistical.1 += u64::from(statistical.window().contains(made.true_error));
        }
        if bounds.contains(made.true_error) {
            return;
        }
        tally.wrong += 1;
        let words = || {
            let name = &self.host.config().name;
            let seed = self.host.config().seed;
            let after = made.at - self.start;
            let (lo, hi, truth) = (bounds.lo(), bounds.hi(), made.true_error);
            let sources = made.report.sources.iter();
            let verdicts: Vec<_> = sources.map(|s| format!("{} {}", s.name, s.verdict)).collect();
            format!(
                "{name} (seed {seed}) {:.3} s after the start: the truth, {} ns, is outside \
                 [{}, {}] ns by {}",
                after.as_secs_f64(),
                truth.as_ns(),
                lo.as_ns(),
                hi.as_ns(),
                verdicts.join(", ")
            )
        };
        assert!(!self.strict, "{}\n{:#?}", words(), made.report);
        if self.tally.first_wrong.is_none() {
            self.tally.first_wrong = Some(words());
        }
    }

    fn look_for_gaps(&mut self, window: bool) {
        if window || self.host.is_cut_off(self.now) {
            self.blind_since = None;
        } else {
            let since = *self.blind_since.get_or_insert(self.now);
            self.tally.longest_gap = self.tally.longest_gap.max(self.now - since);
        }
    }

    fn look_naive(&mut self, made: &SimReport) {
        let window = self.host.naive(made.report.raw, self.naive_drift_ppm);
        if let Some(window) = window {
            let to_host = made.report.realtime.as_ns() - made.report.raw.as_ns();
            let window = window + Span::from_ns(to_host);
            self.tally.naive.0 += 1;
            self.tally.naive.1 += u64::from(!window.contains(made.true_error));
        }
    }
}
