//! The programs that are compared, and how each is asked for its estimate.

mod agent;
mod chrony;
mod ntpd_rs;

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub(crate) use chrony::Server as ChronyServer;

use crate::private_clock::{FAST_PPM, Preload, PrivateClock, START_S};
use crate::process::{Process, Usage};
use crate::score::Reading;

/// A program and a way to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our agent; steering its private clock if `steers`, else only estimating; with `faults = 0` if it
    /// is `trusting`, as its peers are.
    Agent { program: PathBuf, steers: bool, trusting: bool },
    /// chronyd; with `-x` unless it `steers`.
    Chrony { program: PathBuf, steers: bool, interleaved: bool },
    /// ntpd-rs, which always steers.
    NtpdRs { program: PathBuf },
}

/// A client of the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Client {
    /// Whether it differs from another only where several servers are asked.
    pub(crate) fn needs_several(&self) -> bool {
        matches!(self.kind, Kind::Agent { trusting: true, .. })
    }

    /// The program, and what it is started with to do `task`.
    pub(crate) fn command(&self, task: &Task) -> Result<(&Path, Vec<String>)> {
        std::fs::create_dir_all(&task.folder)?;
        Ok(match &self.kind {
            Kind::Agent { program, steers, trusting } => {
                (program, agent::arguments(task, *steers, *trusting)?)
            }
            Kind::Chrony { program, steers, interleaved } => {
                (program, chrony::arguments(task, *steers, *interleaved)?)
            }
            Kind::NtpdRs { program } => (program, ntpd_rs::arguments(task)?),
        })
    }
}

/// What a client is told.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) servers: Vec<SocketAddr>,
    /// Poll intervals, as powers of two in seconds.
    pub(crate) polls: RangeInclusive<i8>,
    /// Its own folder.
    pub(crate) folder: PathBuf,
    /// The collector to report to; our agent alone knows of such.
    pub(crate) collector: Option<&'static str>,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) client: Client,
    process: Process,
    clock: Arc<PrivateClock>,
    readings: Readings,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// Where readings are gathered.
#[derive(Clone, Debug)]
struct Readings {
    started: Instant,
    all: Arc<Mutex<Vec<Reading>>>,
    /// The same as text, for whoever keeps the folder to look closer.
    file: Arc<File>,
}

impl Readings {
    /// Adds one: `error`, `lo` and `hi` against the truth.
    fn add(&self, error: f64, lo: f64, hi: f64) {
        let at = self.started.elapsed().as_secs_f64();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Reading { at, error, lo, hi });
        // What is kept for a closer look must not end a run.
        let _ = writeln!(&*self.file, "{at:.3},{error:.9},{lo:.9},{hi:.9}");
    }
}

impl Running {
    /// Starts a client on a private clock, and asks it once a second from then on.
    pub(crate) fn start(client: Client, task: &Task, preload: &Preload) -> Result<Self> {
        let about = || format!("{} in {}", client.name, task.folder.display());
        let (program, arguments) = client.command(task).with_context(about)?;
        let state = task.folder.join("clock");
        let environment = preload.environment(&state, START_S, FAST_PPM);
        let piped = matches!(client.kind, Kind::Agent { .. });
        let log = task.folder.join("log");
        let mut process = Process::start(program, arguments, &environment, log, piped)?;
        thread::sleep(Duration::from_millis(200));
        process.check().with_context(about)?;
        let clock = Arc::new(PrivateClock::open(&state).with_context(about)?);
        let file = Arc::new(File::create(task.folder.join("readings.csv")).with_context(about)?);
        let readings = Readings { started: Instant::now(), all: Arc::default(), file };
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (clock, readings) = (Arc::clone(&clock), readings.clone());
            let (stop, folder) = (Arc::clone(&stop), task.folder.clone());
            match client.kind {
                Kind::Agent { steers, .. } => {
                    let lines = process.stdout().context("no standard output")?;
                    thread::spawn(move || agent::read(lines, &folder, steers, &clock, &readings))
                }
                Kind::Chrony { steers, .. } => thread::spawn(move || {
                    every_second(&stop, || chrony::ask(&folder, steers, &clock, &readings));
                }),
                Kind::NtpdRs { .. } => thread::spawn(move || {
                    every_second(&stop, || ntpd_rs::ask(&folder, &clock, &readings));
                }),
            }
        };
        Ok(Self { client, process, clock, readings, stop, reader: Some(reader) })
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        self.process.check().with_context(|| self.client.name.clone())
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.clock.sent()
    }

    /// Seconds since it was started.
    pub(crate) fn age_s(&self) -> f64 {
        self.readings.started.elapsed().as_secs_f64()
    }

    /// Readings from `since` seconds after the start.
    pub(crate) fn readings(&self, since: f64) -> Vec<Reading> {
        let all = self.readings.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|reading| reading.at >= since).copied().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.process.stop();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn every_second(stop: &AtomicBool, mut ask: impl FnMut() -> Option<()>) {
    let started = Instant::now();
    for second in 1.. {
        let due = started + Duration::from_secs(second);
        while Instant::now() < due {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let left = due.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_millis(250)));
        }
        // No answer is no reading: the share of answers is in the report.
        ask();
    }
}

/// Writes `text` to a file of the task, and gives its path as an argument.
fn write(task: &Task, name: &str, text: &str) -> Result<String> {
    let path = task.folder.join(name);
    std::fs::write(&path, text)?;
    Ok(argument(&path))
}

fn argument(path: &Path) -> String {
    path.display().to_string()
}
