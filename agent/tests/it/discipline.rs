//! The agent's binary steering a clock: a private one, which a preloaded library gives to it alone. As a
//! second lock, it runs without the capability to set the real one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use agent::sys::clock;
use serde_json::Value;

use crate::loopback::{chronyd, seconds};
use crate::support::{Folder, Process, agent, eventually, skip};

/// Lines (seconds) that anything may take, on a loaded machine too.
const PATIENCE: usize = 90;
/// CAP_SYS_TIME in a set of capabilities.
const SYS_TIME: u64 = 1 << 25;
const STA_UNSYNC: i64 = 0x40;

/// A server, and what gives the agent a clock of its own.
struct Bench {
    folder: Folder,
    preload: PathBuf,
    server: String,
    _chronyd: Process,
}

/// An agent that steers its private clock.
struct Steered {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    state: PathBuf,
}

/// The private clock as it is now.
#[derive(Debug)]
struct PrivateClock {
    error_s: f64,
    freq_ppm: f64,
    status: i64,
    max_error_us: i64,
    steps: i64,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        let folder = Folder::new();
        let Some((process, server)) = chronyd(&folder) else {
            skip(test, "no chronyd on this machine");
            return None;
        };
        let preload = folder.path().join("private_clock.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/private_clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&preload).args([source, "-ldl", "-lm"]);
        if !compiler.status().is_ok_and(|status| status.success()) {
            skip(test, "no C compiler on this machine");
            return None;
        }
        if locked().get_program() == "setpriv"
            && Command::new("setpriv").arg("-d").output().is_err()
        {
            skip(test, "no setpriv on this machine");
            return None;
        }
        fs::create_dir(folder.path().join("proc")).unwrap();
        Some(Self { folder, preload, server, _chronyd: process })
    }

    /// Pretends that this process runs on the machine.
    fn runs(&self, pid: &str, name: &str) {
        let process = self.folder.path().join("proc").join(pid);
        fs::create_dir(&process).unwrap();
        fs::write(process.join("comm"), format!("{name}\n")).unwrap();
    }

    fn start(&self, offset: &str, ppm: &str, arguments: &[&str]) -> Steered {
        let state = self.folder.path().join("clock");
        let mut child = locked()
            .args(["run", "--json", "--discipline", "--poll", "0", "--server", &self.server])
            .args(arguments)
            .env("LD_PRELOAD", &self.preload)
            .env("CLOCK_STATE", &state)
            .env("CLOCK_OFFSET", offset)
            .env("CLOCK_PPM", ppm)
            .env("PRIVATE_PROC", self.folder.path().join("proc"))
            .stdout(Stdio::piped())
            .stderr(File::create(self.folder.path().join("agent.log")).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Steered { child, lines, state }
    }
}

/// The agent, unable to set the real clock.
fn locked() -> Command {
    if capabilities("self", "CapPrm") & SYS_TIME == 0 {
        return agent();
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-sys_time", "--inh-caps=-sys_time"]);
    command.arg(agent().get_program());
    command.env_remove("TRUECHIMER_LOG").env_remove("TRUECHIMER_AGENT_CONFIG");
    command
}

/// A set of capabilities of a process.
fn capabilities(pid: &str, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

impl Steered {
    fn view(&mut self) -> Value {
        let line = self.lines.next().expect("the agent runs").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The first view, with the clock at that time, in which `wanted` holds.
    fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Value, &PrivateClock) -> bool,
    ) -> (Value, PrivateClock) {
        let mut last = None;
        for _ in 0..PATIENCE {
            let (view, clock) = (self.view(), self.clock());
            if wanted(&view, &clock) {
                return (view, clock);
            }
            last = Some((view, clock));
        }
        panic!("{what}: not within {PATIENCE} s, but {last:?}");
    }

    fn clock(&self) -> PrivateClock {
        loop {
            let reading = clock::cross_read();
            let bytes = fs::read(&self.state).unwrap();
            let word = |n: usize| <[u8; 8]>::try_from(&bytes[n * 8..][..8]).unwrap();
            let again = fs::read(&self.state).unwrap();
            // Half-written, or another one by now.
            if word(0)[0] % 2 == 1 || bytes != again {
                continue;
            }
            let int = |n: usize| i64::from_le_bytes(word(n));
            let passed = reading.raw.as_ns() - int(1);
            let gained = passed as f64 * (f64::from_le_bytes(word(3)) - 1.0);
            let ahead = int(2) + passed - reading.realtime.as_ns();
            return PrivateClock {
                error_s: (ahead as f64 + gained) / 1e9,
                freq_ppm: int(4) as f64 / 65_536.0 + (int(5) - 10_000) as f64 * 100.0,
                status: int(6),
                max_error_us: int(7),
                steps: int(10),
            };
        }
    }

    /// Somebody else sets the frequency.
    fn rival_sets(&self, units: i64) {
        let file = File::options().write(true).open(&self.state).unwrap();
        file.write_all_at(&units.to_le_bytes(), 4 * 8).unwrap();
    }
}

impl Drop for Steered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn discipline(view: &Value) -> &str {
    view["discipline"]["state"].as_str().unwrap()
}

/// Proves that a clock 5 ms and 10 ppm off is brought to the microseconds by slewing alone, that the kernel
/// is told the truth about it, and that somebody who meddles ends the steering and is reported.
#[test]
fn a_bad_clock_is_brought_to_the_microseconds() {
    let Some(bench) = Bench::new("a_bad_clock_is_brought_to_the_microseconds") else { return };
    let mut agent = bench.start("0.005", "10", &[]);
    let (view, clock) = agent.until("the clock is right", |_, clock| clock.error_s.abs() < 10e-6);
    assert_eq!((discipline(&view), &view["discipliner"]), ("active", &Value::from("agent")));
    assert_eq!(clock.steps, 0, "slewed");
    agent.until("the frequency is learned", |_, clock| (clock.freq_ppm + 10.0).abs() < 3.0);
    let mut errors: Vec<f64> = (0..9)
        .map(|_| {
            agent.view();
            agent.clock().error_s.abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors[4] < 30e-6, "it does not stay right: {errors:?}");

    let (view, clock) = agent.until("the kernel knows", |view, clock| {
        clock.status & STA_UNSYNC == 0 && !view["kernel"]["max_error"].is_null()
    });
    let bound = f64::from(i32::try_from(clock.max_error_us).unwrap()) / 1e6;
    assert!(bound >= clock.error_s.abs() && bound < 0.01, "{clock:?}");
    assert_eq!(view["kernel"]["synchronised"], true);

    agent.rival_sets(-4_000_000);
    let (view, _) = agent.until("a rival is noticed", |view, _| discipline(view) == "refused");
    let text = view["discipline"]["text"].as_str().unwrap();
    assert!(text.contains("somebody else"), "{text}");
    assert_eq!(agent.clock().freq_ppm, -4_000_000.0 / 65_536.0, "left alone");
}

/// Proves that a large error at the start is stepped away, is counted as one step, and that the window
/// is true right after it.
#[test]
fn a_large_error_is_stepped_once() {
    let Some(bench) = Bench::new("a_large_error_is_stepped_once") else { return };
    let mut agent = bench.start("-3.5", "0", &[]);
    agent.until("the clock is right", |_, clock| clock.error_s.abs() < 100e-6);
    let (view, clock) = agent.until("the step is counted", |view, _| view["steps"] == 1);
    assert_eq!(clock.steps, 1);
    let (lo, hi) = (seconds(&view["lo"]), seconds(&view["hi"]));
    assert!(lo > -0.01 && hi < 0.01, "{lo} to {hi}");
}

/// Proves that an error beyond the panic threshold is reported and left, and that the agent lives on.
#[test]
fn panic_is_reported_and_lived_through() {
    let Some(bench) = Bench::new("panic_is_reported_and_lived_through") else { return };
    let mut agent = bench.start("5000", "0", &[]);
    let (view, _) = agent.until("panic", |view, _| discipline(view) == "panic");
    assert!(view["discipline"]["text"].as_str().unwrap().contains("5000 s"), "{view}");
    (0..3).for_each(|_| drop(agent.view()));
    let clock = agent.clock();
    assert!((clock.error_s - 5000.0).abs() < 0.1 && clock.steps == 0, "{clock:?}");
    assert_ne!(clock.status & STA_UNSYNC, 0);
}

/// Proves that the clock is left alone while another daemon steers it, and that the daemon is named.
#[test]
fn another_daemon_is_respected() {
    let Some(bench) = Bench::new("another_daemon_is_respected") else { return };
    bench.runs("4321", "chronyd");
    let mut agent = bench.start("0.005", "0", &[]);
    let (view, _) = agent.until("a window", |view, _| !view["lo"].is_null());
    assert_eq!(discipline(&view), "refused");
    assert!(view["discipline"]["text"].as_str().unwrap().contains("chronyd"), "{view}");
    assert_eq!(view["discipliner"], "chronyd");
    let clock = agent.clock();
    assert!((clock.error_s - 0.005).abs() < 1e-4 && clock.freq_ppm == 0.0, "{clock:?}");
}

/// Proves that what was learned is kept at the stop, in the middle of nothing: the clock is left at rest.
#[tokio::test]
async fn what_was_learned_is_kept() {
    let Some(bench) = Bench::new("what_was_learned_is_kept") else { return };
    let state_dir = bench.folder.path().join("state");
    let state_dir = state_dir.to_str().unwrap();
    let mut agent = bench.start("0.001", "0", &["--state-dir", state_dir, "--observe", "off"]);
    agent.until("the rate is known", |view, _| !view["frequency_ppm"].is_null());
    (0..3).for_each(|_| drop(agent.view()));
    let pid = nix::unistd::Pid::from_raw(agent.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    eventually("the agent stops", || agent.child.try_wait().unwrap()).await;
    let drift = fs::read_to_string(Path::new(state_dir).join("drift")).unwrap();
    let ppm: Vec<f64> = drift.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(ppm[0].abs() < 5.0 && ppm[1] < 5.0, "{drift}");
    assert!(agent.clock().freq_ppm.abs() < 5.0, "{:?}", agent.clock());
}

/// Proves that an agent that only observes cannot set the clock, whatever it was started with: no thread
/// of it has the capability, and none can get it back.
#[tokio::test]
async fn an_observer_cannot_touch_the_clock() {
    let mut child = agent()
        .args(["run", "--json", "--server", "127.0.0.1:9"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("\"state\":\"off\""), "{first}");
    let tasks = format!("/proc/{}/task", child.id());
    let may_drop = capabilities("self", "CapEff") & (1 << 8) != 0;
    for task in fs::read_dir(&tasks).unwrap() {
        let thread = format!("{}/task/{}", child.id(), task.unwrap().file_name().to_str().unwrap());
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(capabilities(&thread, set) & SYS_TIME, 0, "{set}");
        }
        assert!(!may_drop || capabilities(&thread, "CapBnd") & SYS_TIME == 0, "CapBnd");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
