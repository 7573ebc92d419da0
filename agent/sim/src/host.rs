//! One simulated host: the real engine over a crystal, a steered system clock and network paths.

mod running;

use std::collections::BTreeMap;

use agent_core::nts::NtsFailure;
use agent_core::{Action, ClockReading, Engine, SourceConfig};
use timebase::{BootId, Bounds, Discipliner, HostId, Raw, Report, Seq, Span, Timestamp, Utc};

use running::Running;

use crate::server::Arrival;
use crate::{Answering, Fault, HostConfig, Oscillator, Rng, SourceLink, Steering, SystemClock};

/// What a kernel cross-read of two clocks leaves open.
const CROSS_READ: Span = Span::from_ns(60);
/// How often the host compares its system clock with its crystal when nothing else happens.
const CLOCK_CHECK: Span = Span::from_secs(4);

/// A report and what only the simulation knows.
#[derive(Clone, Debug)]
pub struct SimReport {
    /// The boot it was made in.
    pub boot: BootId,
    /// When it was made, in true time.
    pub at: Timestamp<Utc>,
    /// The report.
    pub report: Report,
    /// The true error of the system clock at that moment.
    pub true_error: Span,
}

/// A host: the real engine between a simulated crystal, system clock, network and servers.
pub struct SimHost {
    config: HostConfig,
    id: HostId,
    rng: Rng,
    epoch: Timestamp<Utc>,
    faults: BTreeMap<(Timestamp<Utc>, usize), (Option<Span>, Fault)>,
    next_clock_check: Timestamp<Utc>,
    /// `None` while the host is down.
    up: Option<Running>,
    boots_at: Timestamp<Utc>,
    boots: u32,
    sources_dead: bool,
}

impl SimHost {
    /// A host that boots at true time `start`.
    pub fn new(config: HostConfig, start: Timestamp<Utc>) -> Self {
        let mut rng = Rng::new(config.seed);
        let id = HostId::from_bytes(rng.bytes16());
        let faults = config
            .faults
            .iter()
            .enumerate()
            .map(|(n, (after, every, fault))| ((start + *after, n), (*every, fault.clone())))
            .collect();
        Self {
            config,
            id,
            rng,
            epoch: start,
            faults,
            next_clock_check: start,
            up: None,
            boots_at: start,
            boots: 0,
            sources_dead: false,
        }
    }

    /// Whether no source can answer at `at`, so that a host that starts cannot know anything.
    pub fn is_cut_off(&self, at: Timestamp<Utc>) -> bool {
        let broken = |link: &SourceLink| {
            link.path.outages.is_some_and(|outages| outages.broken(at - self.epoch))
        };
        self.sources_dead || self.config.links.iter().all(broken)
    }

    /// The host's identity, which follows from its seed.
    pub const fn id(&self) -> HostId {
        self.id
    }

    /// The knobs it was made with, as faults have changed them since.
    pub const fn config(&self) -> &HostConfig {
        &self.config
    }

    /// One of its sources, to be changed on the way.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn link_mut(&mut self, source: usize) -> &mut SourceLink {
        &mut self.config.links[source]
    }

    /// The running boot; `None` while the host is down.
    pub fn boot(&self) -> Option<BootId> {
        self.up.as_ref().map(|up| up.boot)
    }

    /// The present rate of the crystal, ppm.
    pub fn rate_ppm(&self) -> Option<f64> {
        self.up.as_ref().map(|up| up.oscillator.rate_ppm())
    }

    /// Reads both clocks at true time `now`, which must not lie before what was already simulated.
    pub fn clocks(&mut self, now: Timestamp<Utc>) -> Option<ClockReading> {
        self.up.as_mut().map(|up| up.reading(now))
    }

    /// What the engine would report at true time `now`. Asking changes nothing.
    pub fn status(&mut self, now: Timestamp<Utc>) -> Option<SimReport> {
        let up = self.up.as_mut().filter(|up| up.idle_until <= now)?;
        let reading = up.reading(now);
        let report = up.engine.status(reading, up.kernel(), up.discipliner());
        let boot = up.boot;
        Some(self.against_truth(boot, now, report))
    }

    /// What a simple client would take for certain about `raw − UTC`, by its last answer alone.
    pub(crate) fn naive(&self, raw: Timestamp<Raw>, drift_ppm: f64) -> Option<Bounds> {
        self.up.as_ref()?.naive.map(|naive| naive.window(raw, drift_ppm))
    }

    /// UTC at true time `now`, with the leap second.
    pub fn utc(&self, now: Timestamp<Utc>) -> Timestamp<Utc> {
        let leap = self.config.leap.map(|leap| leap.correction(now - self.epoch));
        now + leap.unwrap_or(Span::ZERO)
    }

    /// The truth beside a report.
    fn against_truth(&self, boot: BootId, at: Timestamp<Utc>, report: Report) -> SimReport {
        let true_error = report.realtime.error_against(self.utc(at));
        SimReport { boot, at, report, true_error }
    }

    /// Lets the world run until true time `now`; reports made on the way are added to `out`.
    pub fn advance(&mut self, now: Timestamp<Utc>, out: &mut Vec<SimReport>) {
        while let Some(at) = self.next_moment().filter(|at| *at <= now) {
            self.run_faults(at);
            match &mut self.up {
                None if self.boots_at <= at => self.start(at),
                None => {}
                Some(up) if up.idle_until > at => {}
                Some(_) => self.run(at, out),
            }
        }
    }

    /// When something happens next.
    pub fn next_moment(&self) -> Option<Timestamp<Utc>> {
        let fault = self.faults.keys().next().map(|(at, _)| *at);
        let own = match &self.up {
            None => Some(self.boots_at),
            Some(up) => [
                Some(self.next_clock_check),
                Some(up.oscillator.when(up.next_report)),
                up.engine.next_timeout().map(|raw| up.oscillator.when(raw)),
                up.flying.keys().next().map(|(at, _)| *at),
                up.clock.next_correction(),
            ]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(up.idle_until)),
        };
        [fault, own].into_iter().flatten().min()
    }

    fn start(&mut self, at: Timestamp<Utc>) {
        self.boots += 1;
        let config = &self.config;
        // A host that was up before us shows some uptime; one that rebooted starts from zero.
        let uptime = if self.boots == 1 { self.rng.between(3e3, 3e6) } else { 8.0 };
        let raw = Timestamp::from_ns(Span::from_secs_f64(uptime).as_ns());
        let utc = self.utc(at);
        let realtime = Timestamp::from_ns((utc + config.initial_error).as_ns());
        let mut rng = Rng::new(self.rng.bits());
        let crystal = config.crystal.clone();
        let oscillator = Oscillator::new(at, raw, crystal, self.epoch, Rng::new(rng.bits()));
        let rate_ppm = oscillator.rate_ppm();
        let clock_rng = Rng::new(rng.bits());
        let clock = SystemClock::new(at, raw, realtime, rate_ppm, config.steering, clock_rng);
        let reading = ClockReading { raw, realtime, uncertainty: CROSS_READ };
        let mut engine = Engine::new(config.engine, rng.bytes32(), reading);
        let (min_poll_log2, max_poll_log2) = config.poll_log2;
        for link in &config.links {
            let name = link.name.clone();
            let source = SourceConfig {
                name,
                min_poll_log2,
                max_poll_log2,
                auth: link.auth.clone(),
                ..SourceConfig::default()
            };
            engine.add_source(raw, source);
        }
        engine.handle_started(reading, self.boots > 1);
        self.next_clock_check = at;
        self.up = Some(Running {
            // The same host at another time is another boot.
            boot: BootId::from_bytes(Rng::new(rng.bits() ^ at.as_ns() as u64).bytes16()),
            oscillator,
            clock,
            stamp_width: config.stamp_width,
            engine,
            flying: BTreeMap::new(),
            sent: 0,
            servers: vec![Default::default(); config.links.len()],
            naive: None,
            status: None,
            set_by: None,
            idle_until: at,
            next_seq: Seq((uptime * 1000.0) as u64),
            // Hosts were not started together: spread their reports over the interval.
            next_report: raw
                + Span::from_secs_f64(config.report_every.as_secs_f64() * rng.between(0.2, 1.0)),
        });
    }

    fn run_faults(&mut self, at: Timestamp<Utc>) {
        while let Some(entry) = self.faults.first_entry().filter(|e| e.key().0 <= at) {
            let ((when, n), (every, fault)) = entry.remove_entry();
            if let Some(every) = every {
                self.faults.insert((when + every, n), (Some(every), fault.clone()));
            }
            self.inflict(at, fault);
        }
    }

    /// Lets something go wrong at true time `at`, up to which the world must have run.
    pub fn inflict(&mut self, at: Timestamp<Utc>, fault: Fault) {
        let links = &mut self.config.links;
        match fault {
            Fault::Step(by) => {
                if let Some(up) = &mut self.up {
                    up.reading(at);
                    up.clock.step(by);
                    // The kernel says at once that the clock was set.
                    up.set_by = Some(up.set_by.unwrap_or(Span::ZERO) + by);
                    self.next_clock_check = at;
                }
            }
            Fault::Reboot { down } => {
                self.up = None;
                self.boots_at = at + down;
            }
            Fault::Pause(lasts) => {
                if let Some(up) = &mut self.up {
                    up.idle_until = up.idle_until.max(at + lasts);
                }
            }
            Fault::Suspend { lasts, noticed } => {
                if let Some(up) = self.up.as_mut().filter(|up| up.idle_until <= at) {
                    up.suspend(at, lasts, noticed);
                }
            }
            Fault::Freeze(lasts) => {
                if let Some(up) = self.up.as_mut().filter(|up| up.idle_until <= at) {
                    up.freeze(at, lasts);
                }
            }
            Fault::SourcesDie => {
                self.sources_dead = true;
                set_answering(links, Answering::Not);
            }
            Fault::SourcesReturn => {
                self.sources_dead = false;
                set_answering(links, Answering::Normally);
            }
            Fault::SourceLies { source, error } => {
                if let Some(link) = links.get_mut(source) {
                    link.server.error = error;
                }
            }
            Fault::ServerBecomes { source, server } => {
                if let Some(link) = links.get_mut(source) {
                    link.server = *server;
                    // What takes a server's place is as dead as all others.
                    if self.sources_dead {
                        link.server.answering = Answering::Not;
                    }
                }
            }
            Fault::SourceMoves { source, to } => {
                if let Some(link) = links.get_mut(source) {
                    link.address = Some(to);
                }
            }
            Fault::PathBecomes { source, path } => {
                if let Some(link) = links.get_mut(source) {
                    link.path = *path;
                }
            }
        }
    }

    /// Everything that is due at `at`.
    fn run(&mut self, at: Timestamp<Utc>, out: &mut Vec<SimReport>) {
        let utc = self.utc(at);
        let Some(up) = &mut self.up else { return };
        let now = up.reading(at);
        if up.clock.next_correction().is_some_and(|due| due <= at) {
            up.clock.steer(at, utc, up.oscillator.rate_ppm());
        }
        while let Some(entry) = up.flying.first_entry().filter(|e| e.key().0 <= at) {
            let ((arrives, _), flying) = entry.remove_entry();
            let since = arrives - self.epoch;
            let arrival = Arrival { at: arrives, since, leap: self.config.leap };
            up.arrive(flying, arrival, &self.config.links, &mut self.rng, now.raw);
        }
        if self.next_clock_check <= at {
            if matches!(self.config.steering, Steering::Agent) {
                let kernel_ppb = up.clock.frequency();
                up.engine.handle_discipliner(now.raw, Discipliner::None, kernel_ppb);
            }
            match up.set_by.take() {
                Some(by) => up.engine.handle_clock_set(now, Some(by)),
                None => up.engine.handle_clock(now),
            }
            self.next_clock_check = at + CLOCK_CHECK;
        }
        if up.engine.next_timeout().is_some_and(|due| due <= now.raw) {
            up.engine.handle_timeout(now.raw);
        }
        while let Some(action) = up.engine.poll_action() {
            match action {
                Action::Resolve(source) => up.resolve(source, &self.config.links, now.raw),
                Action::Steer(steer) => {
                    up.reading(at);
                    up.obey(steer);
                    let after = up.reading(at);
                    up.engine.handle_steered(after, Ok(()));
                }
                Action::ExchangeKeys { source } => {
                    let link = self.config.links.get(usize::from(source.0));
                    let server = link.map(|link| &link.server);
                    let alive = server.filter(|s| s.answering == Answering::Normally);
                    match alive.and_then(|server| server.auth.exchange(at - self.epoch)) {
                        Some(keys) => up.engine.handle_keys(now.raw, source, keys),
                        None => {
                            let why = NtsFailure::Connection;
                            up.engine.handle_keys_failed(now.raw, source, why);
                        }
                    }
                }
                Action::Send { source, token, packet } => {
                    let since = at - self.epoch;
                    let link = self.config.links.get(usize::from(source.0));
                    let delays = link.map_or_else(Vec::new, |l| l.path.there(since, &mut self.rng));
                    up.send(at, source, token, &packet, &delays);
                }
            }
        }
        if up.next_report <= now.raw || up.engine.wants_report() {
            let now = up.reading(at);
            let report = up.report(now);
            let boot = up.boot;
            if up.next_report <= now.raw {
                up.next_report = up.next_report + self.config.report_every;
            }
            out.push(self.against_truth(boot, at, report));
        }
    }
}

fn set_answering(links: &mut [SourceLink], answering: Answering) {
    for link in links {
        link.server.answering = answering;
    }
}
