//! The time path: the one loop that feeds the engine with clocks, packets and names, and publishes
//! what it knows.
//!
//! Runs on a thread of its own (tokio `current_thread`). It waits for nobody: snapshots go into a
//! `watch`, reports into a bounded channel whose overflow is counted and reported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::nts::NtsFailure;
use agent_core::{
    Action, ClockReading, Engine, EngineConfig, RefclockSample, SourceId, Steer, Steering,
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use prometheus_client::metrics::counter::Counter;
use timebase::{Discipliner, EventKind, LeapTable, Raw, Report, Timestamp};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::HardwareTimestamps;
use crate::config::Refclock;
use crate::control::Order;
use crate::exchange::{Exchange, Heard, Request};
use crate::hardware::Hardware;
use crate::leaps::{self, TablePath};
use crate::nts::{Exchanged, KeyExchanges};
use crate::refclock;
use crate::slots::Slots;
use crate::sources::{Asking, Server};
use crate::spool::Sequence;
use crate::steer::{Helm, SteerSettings};
use crate::steps::Resumed;
use crate::sys::alarm::Alarm;
use crate::sys::route::Route;
use crate::sys::udp::StampingHeld;
use crate::sys::{clock, timex};
use crate::watch::ClockWatch;

/// The longest time between cross-readings where the kernel gives notice of steps: finds slews. One that
/// is half due is made when the processor is awake anyway.
const LOOK_EVERY: Duration = Duration::from_secs(16);
/// Where it gives none: finds steps, too. Steering needs it to see what became of the clock.
const LOOK_OFTEN: Duration = Duration::from_secs(1);
/// What sockets may tell before the loop reads it: a burst of every source.
const HEARD: usize = 256;
/// How often a report is made that nobody gets: for what the agent itself makes of it.
const REVIEW_EVERY: Duration = Duration::from_secs(64);
/// Least time between two reports, however much happens.
const REPORT_GAP: Duration = Duration::from_secs(1);
/// Longest sleep; a far deadline is looked at again.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// What the time path needs to know.
#[derive(Debug)]
pub struct Settings {
    /// What the engine assumes.
    pub engine: EngineConfig,
    /// Whom to ask.
    pub servers: Vec<Server>,
    /// How to ask those that say nothing else.
    pub asking: Asking,
    /// From where and how requests are sent.
    pub route: Route,
    /// What to do about timestamps by network hardware.
    pub hardware: HardwareTimestamps,
    /// Devices and programs on this host that give time.
    pub refclocks: Vec<Refclock>,
    /// Which table of leap seconds to use.
    pub leap_table: TablePath,
    /// How often a report is made for those who get it.
    pub report_interval: Duration,
    /// Whether this is the first start in this boot.
    pub reboot: bool,
    /// Where a former run in this boot ended, if there was one.
    pub resumed: Option<Resumed>,
}

/// What the time path is connected to.
#[derive(Debug)]
pub struct Wires {
    /// The latest snapshot, renewed when wanted.
    pub snapshots: watch::Sender<Option<Arc<Report>>>,
    /// Somebody wants a snapshot of this moment.
    pub wanted: Arc<Notify>,
    /// Reports to keep and send; without it none are made.
    pub reports: Option<mpsc::Sender<Report>>,
    /// Numbers for reports.
    pub sequence: Sequence,
    /// Reports dropped since the engine was last told.
    pub dropped: Arc<AtomicU64>,
    /// Which sources to ask, from people.
    pub orders: mpsc::Receiver<Order>,
    /// Who steers the clock.
    pub discipliner: watch::Receiver<Discipliner>,
    /// What is counted.
    pub metrics: TimeMetrics,
}

/// What the time path counts. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct TimeMetrics {
    /// Requests sent.
    pub sent: Counter,
    /// Datagrams received.
    pub received: Counter,
    /// Requests that could not be sent.
    pub send_failures: Counter,
    /// Datagrams refused, by reason.
    pub refused: crate::observe::Refusals,
    /// Samples of reference clocks that make no sense.
    pub refclock_refused: Counter,
    /// Steps of the system clock.
    pub steps: Counter,
    /// Times the host was suspended.
    pub suspends: Counter,
}

/// Runs until `stop`, then makes a last report.
pub async fn run(
    settings: Settings,
    wires: Wires,
    steering: SteerSettings,
    stop: CancellationToken,
) {
    Timekeeper::new(settings, wires, steering).run(stop).await;
}

struct Timekeeper {
    engine: Engine,
    helm: Helm,
    slots: Slots,
    wires: Wires,
    route: Arc<Route>,
    hardware: Arc<Hardware>,
    /// The latest exchange with each source: dropped, and so ended, when it has given what it can.
    exchanges: BTreeMap<SourceId, Exchange>,
    keys: KeyExchanges,
    heard: mpsc::Sender<Heard>,
    hears: mpsc::Receiver<Heard>,
    samples: mpsc::Receiver<(SourceId, RefclockSample)>,
    leap_table: watch::Receiver<Option<LeapTable>>,
    watch: ClockWatch,
    report_interval: Duration,
    report_due: Instant,
    reported: Instant,
    /// When the clocks were read for the last time.
    looked: Instant,
    /// When the engine wants to be called, and the same on tokio's clock; `None` after it was.
    due: Option<(Option<Timestamp<Raw>>, Instant)>,
    _stamping: Option<StampingHeld>,
}

impl Timekeeper {
    fn new(settings: Settings, mut wires: Wires, steering: SteerSettings) -> Self {
        let watch = ClockWatch::new(wires.metrics.suspends.clone());
        let now = clock::cross_read();
        let mut engine = Engine::new(settings.engine, seed(), now);
        if let Some(Resumed { steps, stepped }) = settings.resumed {
            engine.resume(now, steps, stepped);
        }
        let mut helm = Helm::new(steering);
        helm.handle_discipliner(&mut engine, *wires.discipliner.borrow_and_update());
        engine.handle_started(now, settings.reboot);
        let mut slots = Slots::new(settings.asking);
        for server in settings.servers {
            slots.add_server(&mut engine, now.raw, server);
        }
        let stamping = StampingHeld::new()
            .inspect_err(|error| {
                warn!("no kernel timestamps ({error}): packets are stamped by the agent itself");
            })
            .ok();
        let report_interval = match wires.reports {
            Some(_) => settings.report_interval,
            None => REVIEW_EVERY,
        };
        let (heard, hears) = mpsc::channel(HEARD);
        let route = Arc::new(settings.route);
        let leap_table = leaps::watch(settings.leap_table);
        if let Some(table) = leap_table.borrow().clone() {
            engine.handle_leap_table(now.raw, table);
        }
        let refused = &wires.metrics.refclock_refused;
        let samples =
            refclock::start(settings.refclocks, &mut engine, now.raw, &leap_table, refused);
        Self {
            engine,
            helm,
            slots,
            wires,
            keys: KeyExchanges::new(Arc::clone(&route)),
            hardware: Arc::new(Hardware::new(settings.hardware)),
            route,
            exchanges: BTreeMap::new(),
            heard,
            hears,
            samples,
            leap_table,
            watch,
            report_interval,
            report_due: Instant::now() + report_interval,
            reported: Instant::now(),
            looked: Instant::now(),
            due: None,
            _stamping: stamping,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let seldom = self.watch.has_notice() && self.engine.steering() == Steering::Off;
        let look_every = if seldom { LOOK_EVERY } else { LOOK_OFTEN };
        let (mut alarm, wanted) = (Alarm::unset(), Arc::clone(&self.wires.wanted));
        self.publish();
        loop {
            self.act();
            let look_due = self.looked + look_every;
            let deadline = self.deadline().min(look_due);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.watch.stepped() => {
                    self.read_clocks();
                }
                Some(heard) = self.hears.recv() => self.handle(heard),
                Some((source, sample)) = self.samples.recv() => {
                    if let Err(refused) = self.engine.handle_refclock(clock::raw(), source, &sample) {
                        self.wires.metrics.refused.count(refused);
                        debug!(source.id = source.0, "refused a sample: {refused}");
                    }
                }
                Ok(()) = self.leap_table.changed() => {
                    if let Some(table) = self.leap_table.borrow().clone() {
                        self.engine.handle_leap_table(clock::raw(), table);
                    }
                }
                Some(resolved) = self.slots.resolved() => {
                    self.slots.assign(&mut self.engine, clock::raw(), resolved);
                }
                () = wanted.notified() => self.publish(),
                Some(exchanged) = self.keys.done() => self.handle_keys(exchanged),
                Some(order) = self.wires.orders.recv() => self.obey(order),
                () = alarm.rings_at(deadline) => {
                    self.due = None;
                    if Instant::now() + look_every / 2 >= look_due {
                        self.read_clocks();
                    }
                    self.exchanges.retain(|_, exchange| !exchange.is_over());
                    self.engine.handle_timeout(clock::raw());
                }
            }
            self.report_if_due();
            self.mind_the_helm();
        }
        self.engine.handle_stop(clock::raw());
        self.act();
        self.helm.stop(&self.engine);
        self.report();
    }

    /// Carries out everything the engine wants done.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Resolve(source) => self.slots.resolve(source),
                Action::Steer(steer) => {
                    self.helm.steer(&mut self.engine, steer);
                    if matches!(steer, Steer::Step(_)) {
                        self.watch.handle_own_step();
                    }
                }
                Action::ExchangeKeys { source } => match self.slots.key_server(source) {
                    Some(server) => self.keys.start(source, server),
                    None => {
                        let why = NtsFailure::Connection;
                        self.engine.handle_keys_failed(clock::raw(), source, why);
                    }
                },
                Action::Send { source, token, packet } => match self.slots.address(source) {
                    Some(server) => {
                        let request = Request { source, server, token, packet };
                        // Ends the one before, if that is still waited for.
                        let exchange = Exchange::start(
                            request,
                            Arc::clone(&self.route),
                            Arc::clone(&self.hardware),
                            self.heard.clone(),
                        );
                        self.exchanges.insert(source, exchange);
                    }
                    None => self.engine.handle_send_failed(clock::raw(), token),
                },
            }
        }
    }

    fn handle(&mut self, heard: Heard) {
        match heard {
            Heard::Sent(token, stamp) => {
                self.wires.metrics.sent.inc();
                self.engine.handle_sent(token, stamp);
            }
            Heard::Failed(token) => {
                self.wires.metrics.send_failures.inc();
                self.engine.handle_send_failed(clock::raw(), token);
            }
            Heard::Unreachable(source) => {
                self.slots.try_another(&mut self.engine, clock::raw(), source);
            }
            Heard::Datagram(source, bytes, stamp) => {
                self.wires.metrics.received.inc();
                self.slots.heard_of(source);
                match self.engine.handle_datagram(clock::raw(), source, &bytes, stamp) {
                    // Closes the socket: nothing more is expected there.
                    Ok(()) => drop(self.exchanges.remove(&source)),
                    Err(refused) => {
                        self.wires.metrics.refused.count(refused);
                        debug!(source.id = source.0, "refused an answer: {refused}");
                    }
                }
            }
        }
    }

    fn handle_keys(&mut self, exchanged: Exchanged) {
        let Exchanged { source, server, result } = exchanged;
        let (engine, now) = (&mut self.engine, clock::raw());
        match result {
            Ok((keys, address)) => {
                if self.slots.keyed(engine, now, source, &server, address) {
                    engine.handle_keys(now, source, keys);
                } else {
                    engine.handle_keys_failed(now, source, NtsFailure::Connection);
                }
            }
            Err(error) => {
                engine.handle_keys_failed(now, source, error.failure());
                if error.failure() == NtsFailure::Connection {
                    self.slots.try_another(engine, now, source);
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let sources = self.slots.called(order.source.as_deref());
        for source in &sources {
            self.engine.set_online(clock::raw(), *source, order.online);
        }
        // Whoever asked may have gone.
        let _ = order.answer.send(sources.len());
        self.publish();
    }

    fn read_clocks(&mut self) -> ClockReading {
        self.looked = Instant::now();
        let reading = self.watch.read(&mut self.engine);
        let dropped = self.wires.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.engine.handle_dropped_reports(reading, dropped);
        }
        reading
    }

    /// Tells the engine who else steers, when somebody has looked.
    fn mind_the_helm(&mut self) {
        if self.wires.discipliner.has_changed().unwrap_or(false) {
            let found = *self.wires.discipliner.borrow_and_update();
            self.helm.handle_discipliner(&mut self.engine, found);
        }
        self.helm.settle(&self.engine);
    }

    fn publish(&mut self) {
        let reading = self.read_clocks();
        let report =
            self.engine.status(reading, timex::kernel_clock(), *self.wires.discipliner.borrow());
        self.wires.snapshots.send_replace(Some(Arc::new(report)));
    }

    fn report_if_due(&mut self) {
        let now = Instant::now();
        let gap_over = now.duration_since(self.reported) >= REPORT_GAP;
        // What nobody gets is made when there is something to log.
        let logs = self.wires.reports.is_none() && self.engine.has_events();
        if now >= self.report_due || (gap_over && (self.engine.wants_report() || logs)) {
            self.report();
        }
    }

    /// Makes a report: events are in exactly one, so this happens without a spool, too.
    fn report(&mut self) {
        self.reported = Instant::now();
        self.report_due = self.reported + self.report_interval;
        let reading = self.read_clocks();
        let report = self.engine.report(
            reading,
            self.wires.sequence.take(),
            timex::kernel_clock(),
            *self.wires.discipliner.borrow(),
        );
        self.slots.review(&report);
        for event in &report.events {
            if matches!(event.kind, EventKind::Step { .. }) {
                self.wires.metrics.steps.inc();
            }
            info!("{}", event.kind);
        }
        let Some(reports) = &self.wires.reports else { return };
        if reports.try_send(report).is_err() {
            self.wires.dropped.fetch_add(1, Ordering::Relaxed);
            warn!("the spool is too slow: a report was dropped");
        }
    }

    /// When the engine wants to be called or a report is due, on tokio's clock: the same moment every time
    /// until the engine wants another, so that the alarm is not set anew.
    fn deadline(&mut self) -> Instant {
        let wanted = self.engine.next_timeout();
        let at = match self.due {
            Some((before, at)) if before == wanted => at,
            _ => Instant::now() + wanted.map_or(LONGEST_SLEEP, until).min(LONGEST_SLEEP),
        };
        self.due = Some((wanted, at));
        at.min(self.report_due)
    }
}

fn until(at: Timestamp<Raw>) -> Duration {
    let wait = at - clock::raw();
    Duration::from_nanos(u64::try_from(wait.as_ns()).unwrap_or(0))
}

/// Seeds the engine's nonces: what makes its requests impossible to guess.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).expect("invariant: Linux gives random bytes");
    seed
}
