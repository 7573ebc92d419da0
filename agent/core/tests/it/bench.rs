//! One engine, some servers, and the true time, moved on by hand.

use std::collections::BTreeMap;

use agent_core::ntp::{Mode, Packet, from_utc, short_format};
use agent_core::{
    Action, ClockReading, Engine, EngineConfig, Refused, SendToken, SourceConfig, SourceId,
    SourceOptions, Stamp,
};
use timebase::{
    Discipliner, EventKind, Host, KernelClock, Leap, LeapSecond, Ppb, Raw, Report, Seq, SmearState,
    Span, StampKind, Timestamp, Utc, Verdict,
};

/// 2026-11-22T00:00:00Z
pub(crate) const START: Timestamp<Utc> = Timestamp::from_ns(1_795_305_600_000_000_000);

#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its clock less UTC.
    pub(crate) error: Span,
    pub(crate) out: Span,
    pub(crate) back: Span,
    /// Whether its name can be looked up.
    pub(crate) named: bool,
    pub(crate) alive: bool,
    pub(crate) stratum: u8,
    pub(crate) leap: Leap,
    pub(crate) reference_id: u32,
    pub(crate) root_dispersion: Span,
    /// What it does about a leap second.
    pub(crate) leaping: Option<Leaping>,
    /// What part it takes in the client's selection.
    pub(crate) options: SourceOptions,
}

/// A server's way across a leap second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaping {
    pub(crate) leap: LeapSecond,
    pub(crate) smear: SmearState,
    /// How much too late it leaps.
    pub(crate) late: Span,
    pub(crate) announces: bool,
}

impl Leaping {
    /// What its clock shows, less what a clock that never leaps shows at `at`.
    pub(crate) fn correction(&self, at: Timestamp<Utc>) -> Span {
        let happens = if self.leap.insert { self.leap.at } else { self.leap.at - Span::SECOND };
        let done = self.smear.progress(at - happens - self.late);
        if self.leap.insert { -done } else { done }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            error: Span::ZERO,
            out: Span::from_ns(100_000),
            back: Span::from_ns(120_000),
            named: true,
            alive: true,
            stratum: 2,
            leap: Leap::None,
            reference_id: 0x7f00_0001,
            root_dispersion: Span::from_ns(20_000),
            options: SourceOptions::default(),
            leaping: None,
        }
    }
}

impl Server {
    pub(crate) fn off(error: Span) -> Self {
        Self { error, ..Self::default() }
    }

    pub(crate) fn kiss(code: [u8; 4]) -> Self {
        Self { stratum: 0, reference_id: u32::from_be_bytes(code), ..Self::default() }
    }

    fn answer(&self, request: &[u8], asked: Timestamp<Utc>) -> Packet {
        let request = Packet::decode(request).expect("our own request");
        let even = asked + self.out + self.error;
        let t2 = even + self.leaping.map_or(Span::ZERO, |leaping| leaping.correction(even));
        let warns = |leaping: &Leaping| leaping.announces && t2 < leaping.leap.at;
        let warning = self.leaping.filter(warns).map(|leaping| leaping.leap.warning());
        Packet {
            leap: warning.unwrap_or(self.leap),
            mode: Mode::Server,
            stratum: self.stratum,
            poll: 4,
            precision: -24,
            root_delay: 0,
            root_dispersion: short_format(self.root_dispersion),
            reference_id: self.reference_id,
            reference: from_utc(t2 - Span::SECOND),
            origin: request.transmit,
            receive: from_utc(t2),
            transmit: from_utc(t2 + Span::MICROSECOND),
        }
    }
}

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) now: Timestamp<Utc>,
    pub(crate) servers: Vec<Server>,
    /// Rate of the raw oscillator.
    pub(crate) rate: Ppb,
    /// The system clock less UTC.
    pub(crate) host_error: Span,
    pub(crate) requests: BTreeMap<usize, u64>,
    pub(crate) events: Vec<EventKind>,
    slept: Span,
    in_flight: Vec<(Timestamp<Utc>, SourceId, Vec<u8>)>,
    seq: u64,
}

impl Bench {
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        Self::polling(servers, 4, Ppb::from_ppm(12))
    }

    pub(crate) fn polling(servers: Vec<Server>, poll_log2: i8, rate: Ppb) -> Self {
        Self::with(EngineConfig::default(), servers, poll_log2, rate)
    }

    pub(crate) fn configured(config: EngineConfig, servers: Vec<Server>) -> Self {
        Self::with(config, servers, 4, Ppb::from_ppm(12))
    }

    fn with(config: EngineConfig, servers: Vec<Server>, poll_log2: i8, rate: Ppb) -> Self {
        let clock = ClockReading {
            raw: raw_at(START, rate),
            realtime: Timestamp::from_ns(START.as_ns()),
            uncertainty: Span::ZERO,
        };
        let mut engine = Engine::new(config, [3; 32], clock);
        for (i, server) in servers.iter().enumerate() {
            let id = engine.add_source(
                clock.raw,
                SourceConfig {
                    name: format!("server-{i}"),
                    min_poll_log2: poll_log2,
                    max_poll_log2: poll_log2 + 2,
                    options: server.options,
                    ..SourceConfig::default()
                },
            );
            if server.named {
                engine.handle_resolved(clock.raw, id, format!("192.0.2.{i}:123"));
            }
        }
        let mut bench = Self {
            engine,
            now: START,
            servers,
            rate,
            host_error: Span::ZERO,
            requests: BTreeMap::new(),
            events: Vec::new(),
            slept: Span::ZERO,
            in_flight: Vec::new(),
            seq: 0,
        };
        bench.act();
        bench
    }

    pub(crate) fn raw(&self) -> Timestamp<Raw> {
        raw_at(self.now - self.slept, self.rate)
    }

    /// The host sleeps for `span`: true time passes, and the raw clock does not count it.
    pub(crate) fn sleep(&mut self, span: Span) {
        self.now = self.now + span;
        self.slept += span;
        self.engine.handle_suspend(self.clock(), span);
    }

    /// Somebody sets the clock `by` so much, and the kernel says so; `told` is what can be read off the clocks.
    pub(crate) fn set_clock(&mut self, by: Span, told: Option<Span>) {
        self.host_error += by;
        self.engine.handle_clock_set(self.clock(), told);
    }

    /// The first moment at which the raw clock shows at least `raw`.
    fn utc_at(&self, raw: Timestamp<Raw>) -> Timestamp<Utc> {
        let shown = i128::from(raw.as_ns() - 5_000_000_000);
        let elapsed = shown * 1_000_000_000 / i128::from(1_000_000_000 + self.rate.as_ppb()) + 2;
        START + self.slept + Span::from_ns(i64::try_from(elapsed).expect("a test of centuries"))
    }

    pub(crate) fn clock(&self) -> ClockReading {
        let realtime = Timestamp::<Host>::from_ns((self.now + self.host_error).as_ns());
        ClockReading { raw: self.raw(), realtime, uncertainty: Span::from_ns(100) }
    }

    pub(crate) fn report(&mut self) -> Report {
        self.seq += 1;
        let clock = self.clock();
        let report =
            self.engine.report(clock, Seq(self.seq), KernelClock::default(), Discipliner::None);
        self.events.extend(report.events.iter().map(|event| event.kind.clone()));
        report
    }

    pub(crate) fn verdicts(&mut self) -> Vec<Verdict> {
        self.report().sources.iter().map(|source| source.verdict).collect()
    }

    /// Lets `span` pass.
    pub(crate) fn run(&mut self, span: Span) {
        let until = self.now + span;
        loop {
            let timeout = self.engine.next_timeout().map(|raw| self.utc_at(raw));
            let arrival = self.in_flight.iter().map(|(at, ..)| *at).min();
            let next = [timeout, arrival].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            match self.in_flight.iter().position(|(at, ..)| *at <= self.now) {
                Some(i) => {
                    let (_, source, bytes) = self.in_flight.remove(i);
                    let _ = self.deliver(source, &bytes);
                }
                None => self.engine.handle_timeout(self.raw()),
            }
            self.act();
        }
        self.now = until;
        self.engine.handle_clock(self.clock());
    }

    pub(crate) fn deliver(&mut self, source: SourceId, bytes: &[u8]) -> Result<(), Refused> {
        let raw = self.raw();
        self.engine.handle_datagram(raw, source, bytes, Stamp::exact(raw, StampKind::Kernel))
    }

    /// Waits for the next request and takes it off the wire.
    pub(crate) fn intercept(&mut self) -> (SourceId, SendToken, Vec<u8>) {
        for _ in 0..100 {
            match self.engine.poll_action() {
                Some(Action::Send { source, token, packet }) => return (source, token, packet),
                Some(Action::Resolve(_) | Action::Steer(_) | Action::ExchangeKeys { .. }) => {}
                None => {
                    let next = self.engine.next_timeout().expect("a plan");
                    self.now = self.now.max(self.utc_at(next));
                    self.engine.handle_timeout(self.raw());
                }
            }
        }
        panic!("no request");
    }

    /// The right answer to an intercepted request.
    pub(crate) fn answer(&self, source: SourceId, request: &[u8]) -> Packet {
        self.servers[usize::from(source.0)].answer(request, self.now)
    }

    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            let Action::Send { source, token, packet } = action else { continue };
            let raw = self.raw();
            self.engine.handle_sent(token, Stamp::exact(raw, StampKind::Kernel));
            let i = usize::from(source.0);
            *self.requests.entry(i).or_default() += 1;
            let server = &self.servers[i];
            if server.alive {
                let at = self.now + server.out + Span::MICROSECOND + server.back;
                let answer = server.answer(&packet, self.now).encode().to_vec();
                self.in_flight.push((at, source, answer));
            }
        }
    }
}

fn raw_at(utc: Timestamp<Utc>, rate: Ppb) -> Timestamp<Raw> {
    let elapsed = i128::from((utc - START).as_ns());
    let gained = elapsed * i128::from(rate.as_ppb()) / 1_000_000_000;
    Timestamp::from_ns(
        i64::try_from(5_000_000_000 + elapsed + gained).expect("a test of centuries"),
    )
}
