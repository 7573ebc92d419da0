//! Child processes: none may set a clock, none outlives the benchmark, and what each costs is known.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// A running child; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process has used and holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    /// How often it was given the processor: context switches of all threads.
    pub(crate) wakes: u64,
    pub(crate) rss_kib: u64,
    pub(crate) pss_kib: u64,
}

impl Process {
    /// Starts `program` without the right to set a clock, with `environment` (NAME=VALUE) and its output
    /// in `log`; with `piped`, standard output is for the caller.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[String],
        log: PathBuf,
        piped: bool,
    ) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if geteuid().is_root() {
            command.args(["--bounding-set=-sys_time", "--inh-caps=-sys_time"]);
        }
        let file = File::create(&log)?;
        // By way of env: the libraries named in the environment are for the program alone.
        command.arg("env").args(environment).arg(program).args(arguments).stdin(Stdio::null());
        command.stderr(file.try_clone()?);
        command.stdout(if piped { Stdio::piped() } else { file.into() });
        let child = command.spawn().context("setpriv (util-linux)")?;
        Ok(Self { child, log })
    }

    /// The child's standard output, once.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// An error, with what it wrote, if the process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let wrote = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = wrote.lines().collect();
            bail!("ended with {status}: {}", lines[lines.len().saturating_sub(8)..].join("\n"));
        }
        Ok(())
    }

    pub(crate) fn usage(&self) -> Usage {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let tasks: Vec<_> =
            fs::read_dir(proc.join("task")).into_iter().flatten().flatten().collect();
        let sum = |file: &str, number: &dyn Fn(&str) -> Option<u64>| -> u64 {
            let read = |task: &fs::DirEntry| fs::read_to_string(task.path().join(file)).ok();
            tasks.iter().filter_map(|task| number(&read(task)?)).sum()
        };
        let cpu_ns = sum("schedstat", &|text| text.split_whitespace().next()?.parse().ok());
        let wakes = sum("status", &|text| {
            let counts = text.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            counts.map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
        });
        let memory = fs::read_to_string(proc.join("smaps_rollup")).unwrap_or_default();
        let kib = |key: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Usage {
            cpu_s: cpu_ns as f64 * 1e-9,
            wakes,
            rss_kib: kib("Rss:").unwrap_or(0),
            pss_kib: kib("Pss:").unwrap_or(0),
        }
    }
}

impl Process {
    /// Ends it: politely, then not.
    pub(crate) fn stop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
