//! One simulated host: the real engine over a crystal, a steered system clock and network paths.

use std::collections::BTreeMap;

use agent_core::{
    Action, ClockReading, Engine, EngineConfig, SendToken, SourceConfig, SourceId, Stamp,
};
use timebase::{
    BootId, Discipliner, HostId, KernelClock, Ppb, Raw, Report, Seq, Span, StampKind, Timestamp,
    Utc,
};

use crate::{Answering, Oscillator, Path, Rng, Server, Steering, SystemClock};

/// What a kernel cross-read of two clocks leaves open.
const CROSS_READ: Span = Span::from_ns(60);
/// How often the host compares its system clock with its crystal when nothing else happens.
const CLOCK_CHECK: Span = Span::from_secs(4);

/// One source of a host and the way there.
#[derive(Clone, Debug)]
pub struct SourceLink {
    /// The name in the host's configuration.
    pub name: String,
    /// The way.
    pub path: Path,
    /// What answers at its end.
    pub server: Server,
}

/// What can go wrong on a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Somebody sets the system clock by this much.
    Step(Span),
    /// The host is down for this long and boots again.
    Reboot {
        /// Time from going down to the agent's start.
        down: Span,
    },
    /// Every source stops answering.
    SourcesDie,
    /// Every source answers again.
    SourcesReturn,
    /// The clock of one source moves this far from UTC while its claim stays.
    SourceLies {
        /// Place in the list of sources.
        source: usize,
        /// Its clock − UTC from then on.
        error: Span,
    },
}

/// The knobs of one simulated host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Host name.
    pub name: String,
    /// Service it belongs to.
    pub service: String,
    /// Everything random on this host follows from it.
    pub seed: u64,
    /// Rate error of its crystal, parts per million.
    pub rate_ppm: f64,
    /// Random walk of that rate.
    pub walk_ppm_per_sqrt_s: f64,
    /// Error of the system clock at the start.
    pub initial_error: Span,
    /// Who steers the system clock.
    pub steering: Steering,
    /// Its sources.
    pub links: Vec<SourceLink>,
    /// What goes wrong: when after the start, and how often again.
    pub faults: Vec<(Span, Option<Span>, Fault)>,
    /// Time between reports.
    pub report_every: Span,
    /// Shortest and longest poll interval, log2 seconds.
    pub poll_log2: (i8, i8),
    /// Settings of the engine.
    pub engine: EngineConfig,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            name: "sim".into(),
            service: String::new(),
            seed: 1,
            rate_ppm: 4.0,
            walk_ppm_per_sqrt_s: 1e-4,
            initial_error: Span::ZERO,
            steering: Steering::Every {
                every: Span::from_secs(16),
                aim: Span::ZERO,
                noise: Span::from_ns(20_000),
            },
            links: Vec::new(),
            faults: Vec::new(),
            report_every: Span::from_secs(10),
            poll_log2: (4, 6),
            engine: EngineConfig::default(),
        }
    }
}

/// A report and what only the simulation knows.
#[derive(Clone, Debug)]
pub struct SimReport {
    /// The boot it was made in.
    pub boot: BootId,
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
    faults: BTreeMap<(Timestamp<Utc>, usize), (Option<Span>, Fault)>,
    next_clock_check: Timestamp<Utc>,
    /// `None` while the host is down.
    up: Option<Running>,
    boots_at: Timestamp<Utc>,
    boots: u32,
}

/// What lives from one boot to the next.
struct Running {
    boot: BootId,
    oscillator: Oscillator,
    clock: SystemClock,
    engine: Engine,
    /// Replies on their way, by arrival.
    flying: BTreeMap<(Timestamp<Utc>, u64), (SourceId, [u8; 48])>,
    sent: u64,
    next_seq: Seq,
    next_report: Timestamp<Raw>,
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
            .map(|(n, (after, every, fault))| ((start + *after, n), (*every, *fault)))
            .collect();
        Self {
            config,
            id,
            rng,
            faults,
            next_clock_check: start,
            up: None,
            boots_at: start,
            boots: 0,
        }
    }

    /// The host's identity, which follows from its seed.
    pub const fn id(&self) -> HostId {
        self.id
    }

    /// The knobs it was made with.
    pub const fn config(&self) -> &HostConfig {
        &self.config
    }

    /// The running boot; `None` while the host is down.
    pub fn boot(&self) -> Option<BootId> {
        self.up.as_ref().map(|up| up.boot)
    }

    /// Reads both clocks at true time `now`, which must not lie before what was already simulated.
    pub fn clocks(&mut self, now: Timestamp<Utc>) -> Option<ClockReading> {
        self.up.as_mut().map(|up| up.reading(now))
    }

    /// Lets the world run until true time `now`; reports made on the way are added to `out`.
    pub fn advance(&mut self, now: Timestamp<Utc>, out: &mut Vec<SimReport>) {
        while let Some(at) = self.next_moment().filter(|at| *at <= now) {
            self.run_faults(at);
            match &mut self.up {
                None if self.boots_at <= at => self.start(at),
                None => {}
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
            .min(),
        };
        [fault, own].into_iter().flatten().min()
    }

    fn start(&mut self, at: Timestamp<Utc>) {
        self.boots += 1;
        let config = &self.config;
        // A host that was up before us shows some uptime; one that rebooted starts from zero.
        let uptime = if self.boots == 1 { self.rng.between(3e3, 3e6) } else { 8.0 };
        let raw = Timestamp::from_ns(Span::from_secs_f64(uptime).as_ns());
        let realtime = Timestamp::from_ns((at + config.initial_error).as_ns());
        let mut rng = Rng::new(self.rng.bits());
        let oscillator = Oscillator::new(
            at,
            raw,
            config.rate_ppm,
            config.walk_ppm_per_sqrt_s,
            40.0,
            Rng::new(rng.bits()),
        );
        let clock = SystemClock::new(
            at,
            raw,
            realtime,
            config.rate_ppm,
            config.steering,
            Rng::new(rng.bits()),
        );
        let reading = ClockReading { raw, realtime, uncertainty: CROSS_READ };
        let mut engine = Engine::new(config.engine, rng.bytes32(), reading);
        let (min_poll_log2, max_poll_log2) = config.poll_log2;
        for link in &config.links {
            engine.add_source(
                raw,
                SourceConfig {
                    name: link.name.clone(),
                    min_poll_log2,
                    max_poll_log2,
                    iburst: true,
                },
            );
        }
        engine.handle_started(reading, self.boots > 1);
        self.next_clock_check = at;
        self.up = Some(Running {
            // The same host at another time is another boot.
            boot: BootId::from_bytes(Rng::new(rng.bits() ^ at.as_ns() as u64).bytes16()),
            oscillator,
            clock,
            engine,
            flying: BTreeMap::new(),
            sent: 0,
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
                self.faults.insert((when + every, n), (Some(every), fault));
            }
            self.inflict(at, fault);
        }
    }

    fn inflict(&mut self, at: Timestamp<Utc>, fault: Fault) {
        match fault {
            Fault::Step(by) => {
                if let Some(up) = &mut self.up {
                    up.reading(at);
                    up.clock.step(by);
                    let reading = up.reading(at);
                    up.engine.handle_clock(reading);
                }
            }
            Fault::Reboot { down } => {
                self.up = None;
                self.boots_at = at + down;
            }
            Fault::SourcesDie => self.set_answering(Answering::Not),
            Fault::SourcesReturn => self.set_answering(Answering::Normally),
            Fault::SourceLies { source, error } => {
                if let Some(link) = self.config.links.get_mut(source) {
                    link.server.error = error;
                }
            }
        }
    }

    fn set_answering(&mut self, answering: Answering) {
        for link in &mut self.config.links {
            link.server.answering = answering;
        }
    }

    /// Everything that is due at `at`.
    fn run(&mut self, at: Timestamp<Utc>, out: &mut Vec<SimReport>) {
        let Some(up) = &mut self.up else { return };
        let mut now = up.reading(at);
        if up.clock.next_correction().is_some_and(|due| due <= at) {
            up.clock.steer(at, up.oscillator.rate_ppm());
        }
        while let Some(entry) = up.flying.first_entry().filter(|e| e.key().0 <= at) {
            let (source, packet) = entry.remove();
            // A refusal is counted by the engine; the world goes on.
            let _ = up.engine.handle_datagram(now.raw, source, &packet, stamp(now.raw));
        }
        if self.next_clock_check <= at {
            up.engine.handle_clock(now);
            self.next_clock_check = at + CLOCK_CHECK;
        }
        if up.engine.next_timeout().is_some_and(|due| due <= now.raw) {
            up.engine.handle_timeout(now.raw);
        }
        while let Some(action) = up.engine.poll_action() {
            match action {
                Action::Resolve(source) => {
                    let address = format!("192.0.2.{}:123", source.0 + 1);
                    up.engine.handle_resolved(now.raw, source, address);
                }
                Action::Send { source, token, packet } => {
                    up.send(at, &self.config.links, &mut self.rng, source, token, &packet);
                }
            }
        }
        if up.next_report <= now.raw || up.engine.wants_report() {
            now = up.reading(at);
            out.push(up.report(at, now));
            if up.next_report <= now.raw {
                up.next_report = up.next_report + self.config.report_every;
            }
        }
    }
}

impl Running {
    fn reading(&mut self, at: Timestamp<Utc>) -> ClockReading {
        let raw = self.oscillator.advance(at);
        ClockReading { raw, realtime: self.clock.advance(raw), uncertainty: CROSS_READ }
    }

    fn send(
        &mut self,
        at: Timestamp<Utc>,
        links: &[SourceLink],
        rng: &mut Rng,
        source: SourceId,
        token: SendToken,
        packet: &[u8; 48],
    ) {
        let now = self.reading(at);
        self.engine.handle_sent(token, stamp(now.raw));
        let Some(link) = links.get(usize::from(source.0)) else { return };
        let Some((out, back)) = link.path.exchange(rng) else { return };
        if let Some((leaves, reply)) = link.server.answer(packet, at + out) {
            self.sent += 1;
            self.flying.insert((leaves + back, self.sent), (source, reply));
        }
    }

    fn report(&mut self, at: Timestamp<Utc>, now: ClockReading) -> SimReport {
        let kernel = KernelClock {
            synchronised: true,
            max_error: Span::from_millis(5),
            estimated_error: Span::from_ns(20_000),
            frequency: Ppb::new((self.oscillator.rate_ppm() * -1000.0) as i64),
            status: 0x2001,
            tai_offset_s: 37,
        };
        let seq = self.next_seq;
        self.next_seq = Seq(seq.0 + 1);
        SimReport {
            boot: self.boot,
            report: self.engine.report(now, seq, kernel, Discipliner::Chronyd),
            true_error: now.realtime.error_against(at),
        }
    }
}

/// A kernel stamp: good to a fraction of a microsecond, taken outwards.
fn stamp(raw: Timestamp<Raw>) -> Stamp {
    Stamp { earliest: raw - CROSS_READ, latest: raw + CROSS_READ, kind: StampKind::Kernel }
}
