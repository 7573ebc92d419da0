//! The whole NTP client of one host: whom to ask when, and what the answers make certain.

mod leap;
mod refclock;
mod report;
mod steer;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use timebase::{Event, EventKind, Leap, LeapTable, RateBounds, Raw, Span, SyncState, Timestamp};

use crate::discipline::Controller;
use crate::estimate::{Oscillator, Rate, Track, combine, posterior};
use crate::events::EventLog;
use crate::leap::LeapScale;
use crate::nonces::Nonces;
use crate::nts::{NtsFailure, NtsKeys};
use crate::select::{Assessment, assess};
use crate::source::Source;
use crate::step::StepDetector;
use crate::stray::Stray;
use crate::{
    Action, ClockReading, EngineConfig, Random, Refused, SendToken, SourceConfig, SourceId, Stamp,
};

/// Most sources one engine takes: as many as a [`SourceId`] can count, and far more than make sense.
const MAX_SOURCES: usize = u16::MAX as usize;

/// The whole NTP client of one host, without its wires.
///
/// Three kinds of method:
///
/// * `handle_*` tells it what happened;
/// * [`poll_action`](Self::poll_action) says what to do, and is called until it returns `None` after
///   every `handle_*`; then [`next_timeout`](Self::next_timeout) says when to call
///   [`handle_timeout`](Self::handle_timeout) at the latest, and [`wants_report`](Self::wants_report)
///   whether a report should go out before its turn;
/// * [`status`](Self::status) and [`report`](Self::report) read the result.
///
/// ```
/// use agent_core::{Action, ClockReading, Engine, EngineConfig, SourceConfig};
/// use timebase::{Span, Timestamp};
///
/// let raw = Timestamp::from_ns(1_000_000_000);
/// let clock = ClockReading { raw, realtime: Timestamp::from_ns(0), uncertainty: Span::ZERO };
/// let mut engine = Engine::new(EngineConfig::default(), [1; 32], clock);
/// let source = engine.add_source(raw, SourceConfig {
///     name: "ntp.example.net".into(), min_poll_log2: 4, max_poll_log2: 6, ..SourceConfig::default()
/// });
/// assert_eq!(engine.poll_action(), Some(Action::Resolve(source)));
/// engine.handle_resolved(raw, source, "192.0.2.1:123".into());
/// let Some(Action::Send { token, .. }) = engine.poll_action() else { panic!("a request") };
/// engine.handle_send_failed(raw, token);
/// assert!(engine.next_timeout().unwrap() > raw);
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    random: Random,
    nonces: Nonces,
    sources: Vec<Source>,
    /// Start of the grace in which having no window is no fault.
    started: Timestamp<Raw>,
    /// The latest moment heard of.
    now: Timestamp<Raw>,
    clock: ClockReading,
    oscillator: Oscillator,
    steps: StepDetector,
    /// Since the last report; `None`: the clock was set since, or there was no report yet.
    stray: Option<Stray>,
    step_count: u32,
    /// Whether the clock was stepped since the last report.
    stepped: bool,
    state: SyncState,
    leap: Leap,
    /// `None`: the clock is only observed.
    discipline: Option<Controller>,
    leaps: LeapScale,
    leap_table: Option<LeapTable>,
    /// When a source was first heard after a leap second that may not have come.
    heard_in_doubt: Option<Timestamp<Raw>>,
    events: EventLog,
    urgent: bool,
}

impl Engine {
    /// An engine without sources. The same seed and the same calls give the same packets and reports.
    ///
    /// Nonces come from the seed by a cipher: it must be unpredictable, and used for nothing else.
    pub fn new(config: EngineConfig, seed: [u8; 32], now: ClockReading) -> Self {
        let mut nonces = Nonces::new(seed);
        Self {
            config,
            random: Random::new(nonces.bytes()),
            nonces,
            sources: Vec::new(),
            started: now.raw,
            now: now.raw,
            clock: now,
            oscillator: Oscillator::new(config.drift_limit, config.rate_change),
            steps: StepDetector::new(now),
            stray: None,
            step_count: 0,
            stepped: false,
            state: SyncState::Starting,
            leap: Leap::None,
            discipline: config.discipline.map(|config| Controller::new(config, now.raw)),
            leaps: LeapScale::new(config.leap_ambiguity),
            leap_table: None,
            heard_in_doubt: None,
            events: EventLog::default(),
            urgent: false,
        }
    }

    /// Adds a source; its name is looked up first. Beyond 65535 sources nothing is added, and the number
    /// given back belongs to no source.
    pub fn add_source(&mut self, now: Timestamp<Raw>, config: SourceConfig) -> SourceId {
        self.at(now);
        let next = self.sources.len().min(MAX_SOURCES);
        let id = SourceId(next as u16);
        if next < MAX_SOURCES {
            let mut source = Source::new(id, config, &self.config, now);
            source.crossing.set_scale(&self.leaps);
            self.sources.push(source);
        }
        id
    }

    /// The name of `source` means `address` (`ip:port`). A changed address starts the source afresh.
    pub fn handle_resolved(&mut self, now: Timestamp<Raw>, source: SourceId, address: String) {
        self.at(now);
        let config = self.config;
        if let Some(source) = self.source(source) {
            source.handle_resolved(now, address, &config);
        }
        self.reassess();
    }

    /// Keys were established with `source`. If that named another server to ask
    /// ([`NtsKeys::server`]), [`handle_resolved`](Self::handle_resolved) with its address comes first.
    pub fn handle_keys(&mut self, now: Timestamp<Raw>, source: SourceId, keys: NtsKeys) {
        self.at(now);
        if let Some(source) = self.source(source) {
            source.handle_keys(now, keys);
        }
        self.reassess();
    }

    /// No keys could be established with `source`; the engine asks again after a while.
    pub fn handle_keys_failed(&mut self, now: Timestamp<Raw>, source: SourceId, why: NtsFailure) {
        self.at(now);
        let heard = self.last_heard();
        if let Some(source) = self.source(source) {
            source.handle_keys_failed(now, why, heard);
        }
        self.reassess();
    }

    /// Whether to ask `source` at all: one that is offline is not, and has no vote.
    pub fn set_online(&mut self, now: Timestamp<Raw>, source: SourceId, online: bool) {
        self.at(now);
        if let Some(source) = self.source(source) {
            source.set_online(now, online);
        }
        self.reassess();
    }

    /// Time has passed: to be called at [`next_timeout`](Self::next_timeout), or earlier.
    pub fn handle_timeout(&mut self, now: Timestamp<Raw>) {
        self.at(now);
        let heard = self.last_heard();
        let sampled = self.sources.iter().any(|source| source.has_sample(now));
        for source in &mut self.sources {
            source.handle_timeout(now, heard, &mut self.random);
        }
        if sampled {
            self.learn_rate();
        }
        if let Some(controller) = &mut self.discipline {
            controller.handle_timeout(now);
        }
        self.reassess();
    }

    /// The request of `token` was sent at that moment. The answer may have been handed in already.
    pub fn handle_sent(&mut self, token: SendToken, sent: Stamp) {
        self.at(sent.latest);
        let heard = self.last_heard();
        let source = self.sources.get_mut(usize::from(token.source().0));
        let answered =
            source.is_some_and(|source| source.handle_sent(&token, sent, heard, &mut self.random));
        if self.last_heard() != heard {
            self.learn_rate();
        }
        if answered {
            self.reassess();
        }
    }

    /// The request of `token` could not be sent.
    pub fn handle_send_failed(&mut self, now: Timestamp<Raw>, token: SendToken) {
        self.at(now);
        let heard = self.last_heard();
        if let Some(source) = self.sources.get_mut(usize::from(token.source().0)) {
            source.handle_send_failed(now, &token, heard, &mut self.random);
        }
        self.reassess();
    }

    /// A datagram came on the socket of `source`.
    ///
    /// # Errors
    /// Why it is not a measurement. Counted in the source's report; nothing else needs to be done.
    pub fn handle_datagram(
        &mut self,
        now: Timestamp<Raw>,
        source: SourceId,
        bytes: &[u8],
        received: Stamp,
    ) -> Result<(), Refused> {
        self.at(now);
        let heard = self.last_heard();
        let source = self.sources.get_mut(usize::from(source.0)).ok_or(Refused::UnknownSource)?;
        let outcome = source.handle_datagram(now, bytes, received, heard, &mut self.random);
        if !outcome.is_err_and(is_noise) {
            self.learn_rate();
            self.reassess();
        }
        outcome
    }

    /// Both clocks were read. A step between two readings shows if it is more than a slew could be.
    pub fn handle_clock(&mut self, reading: ClockReading) {
        self.at(reading.raw);
        let steered = self.steered_since(reading);
        let step = self.steps.observe(reading, steered);
        self.clock = reading;
        if let Some(stray) = &mut self.stray {
            stray.observe(reading);
        }
        if let Some(by) = step {
            self.stepped_by(by);
            self.interrupt_steering();
        }
        self.steer(reading);
    }

    /// The clock was set since the last reading, which the kernel tells however small the step is: a
    /// clock epoch begins. `by` is its size, `None` if it is too small to be read off the clocks.
    pub fn handle_clock_set(&mut self, now: ClockReading, by: Option<Span>) {
        self.at(now.raw);
        self.steered_since(now);
        self.clock = now;
        self.steps.restart(now);
        match by {
            Some(by) => self.stepped_by(by),
            None => self.begin_epoch(),
        }
        self.interrupt_steering();
        self.steer(now);
    }

    /// The agent goes on where a former run in the same boot ended: `steps` were counted by then, and
    /// `by` is how far the clock was stepped since, if it was. Nobody looked meanwhile, so a clock epoch
    /// begins in any case.
    pub fn resume(&mut self, now: ClockReading, steps: u32, by: Option<Span>) {
        self.handle_clock(now);
        self.step_count = self.step_count.saturating_add(steps);
        match by {
            Some(by) => self.stepped_by(by),
            None => self.begin_epoch(),
        }
    }

    /// The host slept, or its virtual machine was paused, for `lasted`. The raw clock does not count
    /// that, so nothing known about `raw − UTC` holds any more. On waking the clock is set, well or badly:
    /// a clock epoch begins.
    pub fn handle_suspend(&mut self, now: ClockReading, lasted: Span) {
        self.at(now.raw);
        self.clock = now;
        self.steps.restart(now);
        self.begin_epoch();
        self.started = now.raw;
        self.oscillator.forget();
        for source in &mut self.sources {
            source.handle_jump(now.raw);
        }
        self.interrupt_steering();
        self.note(EventKind::Suspended { lasted });
        self.urgent = true;
        self.reassess();
    }

    /// The agent has just started; `reboot` if for the first time since the host booted.
    pub fn handle_started(&mut self, now: ClockReading, reboot: bool) {
        self.handle_clock(now);
        self.note(EventKind::Started { reboot });
    }

    /// The shell had to drop `count` reports that were never sent.
    pub fn handle_dropped_reports(&mut self, now: ClockReading, count: u64) {
        self.handle_clock(now);
        self.note(EventKind::ReportsDropped { count });
    }

    /// The next thing to do, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(steer) = self.discipline.as_mut().and_then(Controller::poll) {
            return Some(Action::Steer(steer));
        }
        let (now, heard) = (self.now, self.last_heard());
        for (source, id) in self.sources.iter_mut().zip(0u16..) {
            let source_id = SourceId(id);
            if source.poll_lookup(now, heard) {
                return Some(Action::Resolve(source_id));
            }
            if source.poll_exchange(now) {
                return Some(Action::ExchangeKeys { source: source_id });
            }
            if let Some((token, packet)) = source.poll_request(now, &mut self.nonces) {
                return Some(Action::Send { source: source_id, token, packet });
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called; `None` if nothing is planned.
    pub fn next_timeout(&self) -> Option<Timestamp<Raw>> {
        let steering = self.discipline.as_ref().and_then(Controller::next_timeout);
        self.sources.iter().filter_map(Source::next_timeout).chain(steering).min()
    }

    /// Whether something happened that should not wait for the next regular report: a step, a suspend,
    /// another state, a source that joined or left the window. [`report`](Self::report) clears it.
    pub fn wants_report(&self) -> bool {
        self.urgent
    }

    /// Whether anything happened that is not in a report yet.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Events that found no room before they were reported, since start.
    pub fn events_lost(&self) -> u64 {
        self.events.lost()
    }

    fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.get_mut(usize::from(id.0))
    }

    /// When any source last answered.
    fn last_heard(&self) -> Option<Timestamp<Raw>> {
        self.sources.iter().filter_map(Source::heard).max()
    }

    fn at(&mut self, now: Timestamp<Raw>) {
        self.now = self.now.max(now);
    }

    fn assess(&self, now: Timestamp<Raw>) -> Assessment {
        assess(&self.sources, &self.config, self.started, now)
    }

    /// What the newest exchange says about the oscillator, by the majority's word.
    fn learn_rate(&mut self) {
        let voters = self.assess(self.now).majority;
        let surprised = voters.iter().filter(|i| self.sources[**i].track.surprised()).count();
        if surprised * 2 > voters.len() {
            self.oscillator.forget();
            self.sources.iter_mut().for_each(|source| source.track.distrust_rates());
        }
        let tracks = || voters.iter().map(|i| &self.sources[*i].track);
        let proofs: Vec<RateBounds> = tracks().map(|track| track.rate_proof(self.now)).collect();
        let likely = Rate::combine(tracks().filter_map(Track::rate)).map(|regression| {
            let evidence: Vec<_> =
                tracks().filter_map(|track| track.evidence(regression)).collect();
            posterior(&evidence, regression)
        });
        let rate = self.oscillator.likely();
        let estimates: Vec<_> =
            tracks().filter_map(|track| track.estimate_at(self.now, rate)).collect();
        let proofs = (proofs.as_slice(), self.config.faults);
        self.oscillator.learn(self.now, proofs, likely, combine(&estimates));
    }

    fn share_rate(&mut self) {
        let (rates, wander) = (self.oscillator.rates(self.now), self.oscillator.wander());
        for source in &mut self.sources {
            source.track.set_rates(self.now, rates, wander);
        }
    }

    /// Judges the sources anew and records what changed.
    fn reassess(&mut self) {
        self.share_rate();
        let assessment = self.assess(self.now);
        self.follow_leaps(&assessment);
        for (i, verdict) in assessment.verdicts.iter().enumerate() {
            let source = &mut self.sources[i];
            let before = core::mem::replace(&mut source.verdict, *verdict);
            if before == *verdict {
                continue;
            }
            self.urgent |= before.takes_part() != verdict.takes_part();
            let source = source.name().to_string();
            self.note(EventKind::SourceChanged { source, from: before, to: *verdict });
        }
        let warning = self.leap_warning(&assessment, self.now);
        if warning != self.leap {
            self.leap = warning;
            self.note(EventKind::LeapChanged { to: warning });
        }
        self.urgent |= assessment.state != self.state;
        self.state = assessment.state;
    }

    /// Readings before and after are not of one clock.
    fn begin_epoch(&mut self) {
        self.step_count = self.step_count.saturating_add(1);
        self.stray = None;
    }

    fn stepped_by(&mut self, by: Span) {
        self.begin_epoch();
        self.stepped = true;
        self.urgent = true;
        self.note(EventKind::Step { by });
    }

    /// Records an event at the latest moment heard of.
    fn note(&mut self, kind: EventKind) {
        let realtime = self.clock.realtime + (self.now - self.clock.raw);
        self.events.push(Event { raw: self.now, realtime, kind });
    }
}

/// Datagrams that change nothing: anybody can send them, as many as they like.
fn is_noise(refused: Refused) -> bool {
    matches!(
        refused,
        Refused::TooShort
            | Refused::Version
            | Refused::Mode
            | Refused::Unexpected
            | Refused::Origin
            | Refused::Extension
            | Refused::Authentication
            | Refused::KeyId
            | Refused::CryptoNak
            | Refused::UniqueId
    )
}
