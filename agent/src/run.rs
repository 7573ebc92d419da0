//! Puts the parts together, and takes them apart in order when told to stop.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use agent_core::{EngineConfig, Steering};
use anyhow::{Context, Result, bail};
use fleet_proto::pb;
use timebase::{Bounds, Discipliner, Report};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::control::{self, Order};
use crate::identity::{self, CredentialFile};
use crate::local::{self, Knowledge, LocalSocket, print_json};
use crate::observe::{self, Exposition};
use crate::sources::{self, Asking};
use crate::spool::{Sequence, Spool, SpoolMetrics};
use crate::steer::{DriftFile, SteerMetrics, SteerSettings};
use crate::steps::{Resumed, StepRecord};
use crate::sys::alarm::Alarm;
use crate::sys::route::Route;
use crate::sys::{clock, memory};
use crate::timekeeper::{self, Settings, TimeMetrics, Wires};
use crate::uplink::{Burst, Reporter, Uplink, UplinkMetrics, UplinkState, collector_endpoint};
use crate::{discipliner, keys};

/// Threads for everything that is not the time path.
const BACKGROUND_THREADS: usize = 2;
/// Reports on their way from the time path to the spool: minutes of a stuck disk at usual rates.
const REPORTS_WAITING: usize = 64;
/// Orders on their way to the time path: people are slow.
const ORDERS_WAITING: usize = 4;
/// When starting is over: names are looked up, the first bursts are answered.
const STARTED_AFTER: Duration = Duration::from_secs(8);
/// How long a stopping agent tries to send what is left.
const LAST_SEND: Duration = Duration::from_secs(2);
/// Longest wait for everything else when stopping.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What is printed while running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing; the log goes to standard error.
    None,
    /// One JSON object a second on standard output.
    Json,
}

/// Which threads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    /// One: what is left without a collector is little, and simulators of clocks know one thread only.
    One,
    /// The time path has its own: disk, gRPC and TLS never make it wait.
    TimeApart,
}

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(config: &Config, output: Output) -> Result<()> {
    let threads = if config.collector.is_some() { Threads::TimeApart } else { Threads::One };
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::TimeApart => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .enable_all()
        .build()?;
    let ended = runtime.block_on(run_parts(config, output, threads));
    // Look-ups under way are not waited for: getaddrinfo cannot be interrupted.
    runtime.shutdown_background();
    ended
}

/// Checks what can be checked without starting.
pub fn check(config: &Config) -> Result<()> {
    if let Some(url) = &config.collector {
        collector_endpoint(url, config.ca_file.as_deref(), config.allow_plain)?;
    }
    keys::for_servers(&config.ntp.all_servers(), config.ntp.keys_file.as_deref())?;
    Ok(())
}

async fn run_parts(config: &Config, output: Output, threads: Threads) -> Result<()> {
    let stop = CancellationToken::new();
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    check(config)?;
    let listener = match config.observe.listen {
        Some(address) => Some(observe::bind(address).await?),
        None => None,
    };
    let boot = identity::boot_id();
    let state_dir = config.state_dir();
    let steers_alone = config.discipline.enabled && output == Output::None;
    let keeps_state = config.collector.is_some() || config.state_dir.is_some() || steers_alone;
    let drift = keeps_state.then(|| DriftFile::new(&state_dir));
    if keeps_state {
        identity::make_state_dir(&state_dir)?;
    }
    let reboot = keeps_state && identity::is_first_start(&state_dir, boot);
    let sequence = Sequence::starting_at(clock::since_boot());
    let steps = StepRecord::new(&state_dir, boot);
    let resumed = steps.resumed(clock::set_to().map(Bounds::midpoint));
    let reporting = match &config.collector {
        Some(url) => Some(Reporting::start(config, url, boot, &sequence, steps)?),
        None => None,
    };

    let (snapshots, snapshot) = watch::channel(None);
    let (shown, steering) = watch::channel(Steering::Off);
    let wanted = Arc::new(Notify::new());
    let knowledge = Knowledge {
        snapshots: snapshot,
        wanted: Arc::clone(&wanted),
        steering,
        uplink: reporting.as_ref().map(|reporting| reporting.state.clone()),
        spool: reporting.as_ref().map(|reporting| reporting.spool_metrics.clone()),
    };
    let (metrics, steer_metrics) = (TimeMetrics::default(), SteerMetrics::default());
    if let Some(listener) = listener {
        let spool = reporting.as_ref().map(|r| &r.spool_metrics);
        let uplink = reporting.as_ref().map(|r| &r.uplink_metrics);
        let exposition =
            Exposition::new(knowledge.clone(), &metrics, &steer_metrics, spool, uplink);
        tokio::spawn(observe::serve(listener, exposition, stop.clone()));
    }
    let (order, orders) = mpsc::channel(ORDERS_WAITING);
    serve_locally(config, keeps_state, &knowledge, order, &stop).await?;
    let wires = Wires {
        snapshots,
        wanted,
        reports: reporting.as_ref().map(|reporting| reporting.reports.clone()),
        sequence,
        dropped: reporting.as_ref().map(|reporting| reporting.dropped.clone()).unwrap_or_default(),
        discipliner: watch_discipliner(threads),
        orders,
        metrics,
    };
    let settings = settings(config, reboot, resumed, drift.as_ref())?;
    let steering = SteerSettings { drift, shown, metrics: steer_metrics };
    let mut time_path = start_time_path(settings, wires, steering, stop.clone(), threads)?;
    if output == Output::Json {
        tokio::spawn(print_json(knowledge, stop.clone()));
    }

    tokio::spawn(async {
        tokio::time::sleep(STARTED_AFTER).await;
        memory::forget_unused_code();
    });
    tokio::select! {
        _ = signals.0.recv() => info!("stopping (SIGTERM)"),
        _ = signals.1.recv() => info!("stopping (SIGINT)"),
        () = stop.cancelled() => {}
        _ = &mut time_path => bail!("the time path ended unexpectedly"),
    }
    stop.cancel();
    // The last report is made by the time path, kept by the spool and sent by the uplink, in order.
    let _ = tokio::time::timeout(STOP_PATIENCE, &mut time_path).await;
    if let Some(reporting) = reporting {
        reporting.finish().await;
    }
    Ok(())
}

/// The way of reports: from the time path into the spool, from the spool to the collector.
struct Reporting {
    reports: mpsc::Sender<Report>,
    dropped: Arc<std::sync::atomic::AtomicU64>,
    spool_metrics: SpoolMetrics,
    uplink_metrics: UplinkMetrics,
    state: watch::Receiver<UplinkState>,
    keeper: JoinHandle<()>,
    sender: JoinHandle<()>,
    stop_sending: CancellationToken,
}

impl Reporting {
    fn start(
        config: &Config,
        url: &str,
        boot: timebase::BootId,
        sequence: &Sequence,
        steps: StepRecord,
    ) -> Result<Self> {
        let state_dir = config.state_dir();
        let host = identity::host_id(&state_dir)?;
        let info = pb::HostInfo {
            name: config.host_name(),
            service: config.service.clone(),
            labels: config.labels.clone().into_iter().collect(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            simulated: false,
        };
        info!(host.id = %host, host.name = info.name, "host {} is {host}", info.name);
        let spool =
            Spool::open(&state_dir.join("spool"), config.spool_bytes, boot, sequence.clone())?;
        let spool_metrics = spool.metrics().clone();
        let dropped = spool.dropped();
        let spool = Arc::new(Mutex::new(spool));
        let grown = Arc::new(Notify::new());
        let (reports, waiting) = mpsc::channel(REPORTS_WAITING);
        let keeper = tokio::spawn(keep(waiting, steps, Arc::clone(&spool), Arc::clone(&grown)));

        let (state, shown) = watch::channel(UplinkState::Down("not yet tried".to_owned()));
        let uplink_metrics = UplinkMetrics::default();
        let endpoint = collector_endpoint(url, config.ca_file.as_deref(), config.allow_plain)?;
        let uplink = Uplink {
            reporter: Reporter { host, boot, info },
            channel: endpoint.connect_lazy(),
            backlog: spool,
            grown,
            credentials: CredentialFile::new(&state_dir, config.join_token_file.clone()),
            clocks: Arc::new(|| {
                let reading = clock::cross_read();
                (reading.realtime, reading.raw)
            }),
            metrics: uplink_metrics.clone(),
            state,
        };
        let stop_sending = CancellationToken::new();
        let stop = stop_sending.clone();
        let sender = match config.burst_interval {
            None => tokio::spawn(uplink.run(stop, LAST_SEND)),
            Some(every) => {
                let every = Duration::from_nanos(every.as_ns().unsigned_abs());
                let burst = Burst { endpoint, every };
                tokio::spawn(uplink.run_in_bursts(burst, stop, LAST_SEND))
            }
        };
        let state = shown;
        Ok(Self {
            reports,
            dropped,
            spool_metrics,
            uplink_metrics,
            state,
            keeper,
            sender,
            stop_sending,
        })
    }

    /// Waits until the last report is kept, then lets the uplink send what it can.
    async fn finish(self) {
        drop(self.reports);
        let _ = tokio::time::timeout(STOP_PATIENCE, self.keeper).await;
        self.stop_sending.cancel();
        let _ = tokio::time::timeout(LAST_SEND + STOP_PATIENCE, self.sender).await;
        let unsent = self.spool_metrics.reports.get();
        if unsent > 0 {
            info!(reports = unsent, "{unsent} reports stay in the spool until the next start");
        }
    }
}

/// Puts reports into the spool, several at once if they come faster than the disk.
async fn keep(
    mut waiting: mpsc::Receiver<Report>,
    steps: StepRecord,
    spool: Arc<Mutex<Spool>>,
    grown: Arc<Notify>,
) {
    let steps = Arc::new(Mutex::new(steps));
    let mut taken = Vec::new();
    while waiting.recv_many(&mut taken, REPORTS_WAITING).await > 0 {
        let count = taken.iter().map(|report| report.steps).max().unwrap_or(0);
        let reports: Vec<pb::Report> = taken.drain(..).map(|report| (&report).into()).collect();
        let (steps, spool) = (Arc::clone(&steps), Arc::clone(&spool));
        let append = move || {
            let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.note(count, clock::set_to().map(Bounds::midpoint));
            spool.lock().unwrap_or_else(PoisonError::into_inner).append(reports);
        };
        if tokio::task::spawn_blocking(append).await.is_err() {
            warn!("the spool failed while a report was written");
        }
        grown.notify_one();
    }
}

/// Makes the sockets for others on this host. An agent that keeps state needs them; a passing one does
/// without.
async fn serve_locally(
    config: &Config,
    keeps_state: bool,
    knowledge: &Knowledge,
    orders: mpsc::Sender<Order>,
    stop: &CancellationToken,
) -> Result<()> {
    let (status, control) = (config.socket(), config.control_socket());
    if (status.is_some() || control.is_some()) && !keeps_state {
        // The usual place is in the state directory, which nothing else has made.
        let _ = identity::make_state_dir(&config.state_dir());
    }
    if let Some(socket) = bind(status, local::STATUS_MODE, "status", keeps_state).await? {
        tokio::spawn(local::serve_status(socket, knowledge.clone(), stop.clone()));
    }
    if let Some(socket) = bind(control, control::MODE, "online", keeps_state).await? {
        tokio::spawn(control::serve(socket, orders, stop.clone()));
    }
    Ok(())
}

async fn bind(
    path: Option<PathBuf>,
    mode: u32,
    command: &str,
    needed: bool,
) -> Result<Option<LocalSocket>> {
    let Some(path) = path else { return Ok(None) };
    match LocalSocket::bind(&path, mode).await {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if needed => Err(error),
        Err(error) => {
            warn!("`truechimer-agent {command}` will not find this agent: {error:#}");
            Ok(None)
        }
    }
}

fn settings(
    config: &Config,
    reboot: bool,
    resumed: Option<Resumed>,
    drift: Option<&DriftFile>,
) -> Result<Settings> {
    let ntp = &config.ntp;
    let given = ntp.all_servers();
    let (is_given, mut chosen) = (!given.is_empty(), sources::choose(given));
    let keys_file = ntp.keys_file.as_deref().or(chosen.keys_file.as_deref());
    let keys = match keys::for_servers(&chosen.servers, keys_file) {
        Ok(keys) => keys,
        Err(error) if is_given => return Err(error.into()),
        Err(error) => {
            // Inherited: asking without the key is not what was meant, not starting is worse.
            warn!("{error}: servers with a key are not asked");
            chosen.servers.retain(|server| server.key.is_none());
            keys::Keys::new()
        }
    };
    for problem in config.unknown_locks(&chosen.servers) {
        // Inherited servers are known only now; given ones were checked.
        warn!("refclock: {problem}");
    }
    Ok(Settings {
        engine: EngineConfig {
            drift_limit: ntp.drift_limit(),
            leap_ambiguity: config.leap.ambiguity,
            rate_change: ntp.rate_change(),
            discipline: config.discipline.engine(drift.and_then(DriftFile::read)),
            faults: ntp.faults.into(),
            min_sources: chosen.min_sources.unwrap_or(ntp.min_sources.into()),
            ..EngineConfig::default()
        },
        servers: chosen.servers,
        refclocks: config.refclock.clone(),
        leap_table: config.leap_table(),
        asking: Asking { min_poll: ntp.min_poll, max_poll: ntp.max_poll, iburst: ntp.iburst, keys },
        route: Route {
            address: ntp.bind_address,
            interface: ntp.bind_interface.clone(),
            dscp: ntp.dscp,
        },
        hardware: ntp.hardware_timestamps,
        report_interval: Duration::from_nanos(config.report_interval.as_ns().unsigned_abs()),
        reboot,
        resumed,
    })
}

/// Looks who steers the clock, now and then.
fn watch_discipliner(threads: Threads) -> watch::Receiver<Discipliner> {
    let (sender, receiver) = watch::channel(discipliner::find());
    tokio::spawn(async move {
        let mut alarm = Alarm::unset();
        loop {
            alarm.rings_at(Instant::now() + discipliner::LOOK_EVERY).await;
            let found = match threads {
                // A millisecond once a minute: packets are stamped by the kernel meanwhile.
                Threads::One => Ok(discipliner::find()),
                Threads::TimeApart => tokio::task::spawn_blocking(discipliner::find).await,
            };
            let Ok(found) = found else { return };
            if sender.send(found).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The time path, on a thread of its own if it shall have one; ready when it has ended.
fn start_time_path(
    settings: Settings,
    wires: Wires,
    steering: SteerSettings,
    stop: CancellationToken,
    threads: Threads,
) -> Result<Pin<Box<dyn Future<Output = ()>>>> {
    let time_path = timekeeper::run(settings, wires, steering, stop);
    // A task of its own even then: tokio wakes what it blocks on by a system call, and a task without.
    if threads == Threads::One {
        let task = tokio::spawn(time_path);
        return Ok(Box::pin(async { drop(task.await) }));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ended, end) = oneshot::channel::<()>();
    thread::Builder::new()
        .name("time".to_owned())
        .spawn(move || {
            // If it panicked, it has ended all the same.
            let _ = runtime.block_on(runtime.spawn(time_path));
            runtime.shutdown_background();
            drop(ended);
        })
        .context("cannot start the time thread")?;
    Ok(Box::pin(async { drop(end.await) }))
}
