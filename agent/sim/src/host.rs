//! One simulated host: the real engine over a crystal, a steered system clock and network paths.

use std::collections::BTreeMap;

use agent_core::nts::NtsFailure;
use agent_core::{
    Action, ClockReading, ClockStatus, Engine, SendToken, SourceConfig, SourceId, Stamp, Steer,
};
use timebase::{
    BootId, Bounds, Discipliner, HostId, KernelClock, Ppb, Raw, Report, Seq, SmearState, Span,
    StampKind, Timestamp, Utc,
};

use crate::naive::Naive;
use crate::server::{Arrival, Memory};
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
}

/// A packet on its way.
struct Flying {
    source: SourceId,
    packet: Vec<u8>,
    /// Where it goes: to the server at this address, or home.
    to: Option<String>,
    /// When the request was sent.
    sent: Timestamp<Raw>,
}

/// What lives from one boot to the next.
struct Running {
    boot: BootId,
    oscillator: Oscillator,
    clock: SystemClock,
    stamp_width: Span,
    engine: Engine,
    /// Packets on their way, by arrival.
    flying: BTreeMap<(Timestamp<Utc>, u64), Flying>,
    sent: u64,
    /// What each source's server remembers of this host, and where the host believes it to be.
    servers: Vec<(Memory, String)>,
    /// What a simple client would make of the first source's last answer.
    naive: Option<Naive>,
    /// What the agent told the kernel to say, if it steers.
    status: Option<ClockStatus>,
    /// Nothing runs before this.
    idle_until: Timestamp<Utc>,
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
        }
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

    /// UTC at true time `now`, leap second applied, or as a smearing clock tells it.
    pub fn utc(&self, now: Timestamp<Utc>, smear: SmearState) -> Timestamp<Utc> {
        let since = now - self.epoch;
        let leap = |leap: crate::Leap| leap.correction(since) + leap.smear_error(smear, since);
        now + self.config.leap.map_or(Span::ZERO, leap)
    }

    /// The truth beside a report: UTC as its sources tell it, smeared if they all smear.
    fn against_truth(&self, boot: BootId, at: Timestamp<Utc>, report: Report) -> SimReport {
        let true_error = report.realtime.error_against(self.utc(at, report.smear));
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
        let utc = self.utc(at, SmearState::None);
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
            let source =
                SourceConfig { name, min_poll_log2, max_poll_log2, ..SourceConfig::default() };
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
            Fault::SourcesDie => set_answering(links, Answering::Not),
            Fault::SourcesReturn => set_answering(links, Answering::Normally),
            Fault::SourceLies { source, error } => {
                if let Some(link) = links.get_mut(source) {
                    link.server.error = error;
                }
            }
            Fault::ServerBecomes { source, server } => {
                if let Some(link) = links.get_mut(source) {
                    link.server = *server;
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
        let utc = self.utc(at, SmearState::None);
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
            up.engine.handle_clock(now);
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
                    up.engine.handle_keys_failed(now.raw, source, NtsFailure::Connection);
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

impl Running {
    fn reading(&mut self, at: Timestamp<Utc>) -> ClockReading {
        let raw = self.oscillator.advance(at);
        ClockReading { raw, realtime: self.clock.advance(raw), uncertainty: CROSS_READ }
    }

    /// A stamp as kernels take them: its moment lies somewhere in its width.
    fn stamp(&self, raw: Timestamp<Raw>) -> Stamp {
        let (earliest, latest) = (raw - self.stamp_width, raw + self.stamp_width);
        Stamp { earliest, latest, kind: StampKind::Kernel }
    }

    fn resolve(&mut self, source: SourceId, links: &[SourceLink], raw: Timestamp<Raw>) {
        let index = usize::from(source.0);
        let Some(host) = links.get(index).and_then(|link| link.address) else { return };
        let address = address(source, host);
        if self.servers[index].1 != address {
            self.servers[index] = (Memory::default(), address.clone());
        }
        self.engine.handle_resolved(raw, source, address);
    }

    fn send(
        &mut self,
        at: Timestamp<Utc>,
        source: SourceId,
        token: SendToken,
        packet: &[u8],
        delays: &[Span],
    ) {
        let raw = self.reading(at).raw;
        let stamp = self.stamp(raw);
        self.engine.handle_sent(token, stamp);
        let Some((_, address)) = self.servers.get(usize::from(source.0)) else { return };
        for delay in delays {
            self.sent += 1;
            let to = Some(address.clone());
            let flying = Flying { source, packet: packet.to_vec(), to, sent: raw };
            self.flying.insert((at + *delay, self.sent), flying);
        }
    }

    /// A packet arrives at a server, which answers, or at the host.
    fn arrive(
        &mut self,
        flying: Flying,
        arrival: Arrival,
        links: &[SourceLink],
        rng: &mut Rng,
        raw: Timestamp<Raw>,
    ) {
        let Flying { source, packet, to, sent } = flying;
        let Some(to) = to else {
            let stamp = self.stamp(raw);
            // A refusal is counted by the engine; the world goes on.
            let taken = self.engine.handle_datagram(raw, source, &packet, stamp);
            if taken.is_ok() && source.0 == 0 {
                self.naive = Naive::new(sent, &packet, raw);
            }
            return;
        };
        let index = usize::from(source.0);
        let Some(link) = links.get(index) else { return };
        if link.address.is_none_or(|host| address(source, host) != to) {
            return;
        }
        let memory = &mut self.servers[index].0;
        let Some((after, answer)) = link.server.answer(&packet, arrival, memory, rng) else {
            return;
        };
        for delay in link.path.home(arrival.since, rng) {
            self.sent += 1;
            let flying = Flying { source, packet: answer.clone(), to: None, sent };
            self.flying.insert((arrival.at + after + delay, self.sent), flying);
        }
    }

    /// The host sleeps from `at` on; on waking, the hardware clock sets the system clock right.
    fn suspend(&mut self, at: Timestamp<Utc>, lasts: Span, noticed: bool) {
        self.reading(at);
        let wakes = at + lasts;
        self.oscillator.sleep(wakes);
        self.clock.step(lasts);
        // Packets that arrive at a sleeping host are lost; requests reach their servers all the same.
        self.flying.retain(|(arrives, _), flying| *arrives > wakes || flying.to.is_some());
        let reading = self.reading(wakes);
        if noticed {
            self.engine.handle_suspend(reading, lasts);
        }
        self.idle_until = wakes;
    }

    /// What the kernel does when told.
    fn obey(&mut self, steer: Steer) {
        match steer {
            Steer::Frequency(ppb) => self.clock.set_frequency(ppb),
            Steer::Step(by) => self.clock.step(by),
            Steer::Status(status) => self.status = Some(status),
        }
    }

    fn discipliner(&self) -> Discipliner {
        if self.status.is_some() { Discipliner::Agent } else { Discipliner::Chronyd }
    }

    fn kernel(&self) -> KernelClock {
        if let Some(status) = self.status {
            return KernelClock {
                synchronised: status.synchronised,
                max_error: status.max_error,
                estimated_error: status.estimated_error,
                frequency: Ppb::new(self.clock.frequency() as i64),
                status: if status.synchronised { 0x2001 } else { 0x2041 },
                tai_offset_s: status.tai_offset_s.unwrap_or(0),
            };
        }
        KernelClock {
            synchronised: true,
            max_error: Span::from_millis(5),
            estimated_error: Span::from_ns(20_000),
            frequency: Ppb::new((self.oscillator.rate_ppm() * -1000.0) as i64),
            status: 0x2001,
            tai_offset_s: 37,
        }
    }

    fn report(&mut self, now: ClockReading) -> Report {
        let seq = self.next_seq;
        self.next_seq = Seq(seq.0 + 1);
        self.engine.report(now, seq, self.kernel(), self.discipliner())
    }
}

fn address(source: SourceId, host: u8) -> String {
    format!("192.0.{}.{host}:123", source.0 + 2)
}
