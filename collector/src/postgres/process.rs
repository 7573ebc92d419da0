use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::PostgresError;
use super::binaries::Binaries;
use super::layout::{Layout, PidFile};

/// Crash recovery replays at most max_wal_size; on the slowest disk that is minutes.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// After a killed postmaster its children notice and end by themselves, within moments.
const ORPHANS_LIMIT: Duration = Duration::from_secs(20);
/// A fast shutdown writes a checkpoint; beyond this an immediate one is the lesser evil.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(15);
/// The server's log is cut at a start once it is larger than this.
const LOG_LIMIT: u64 = 16 << 20;

/// The running postmaster.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    /// `None`: adopted, not a child of ours.
    child: Option<Child>,
    data: PathBuf,
}

/// A command as the server's user, in its folder, deaf to the terminal's Ctrl-C: the database must
/// outlive our own drain.
pub(super) fn as_user(layout: &Layout, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(&layout.folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(false);
    if geteuid().is_root() {
        command.uid(layout.user.uid.as_raw()).gid(layout.user.gid.as_raw());
    }
    command
}

/// Adopts the server that an earlier process of ours left running, else starts one; returns when it
/// answers.
pub(super) async fn start_or_adopt(
    layout: &Layout,
    binaries: &Binaries,
) -> Result<Process, PostgresError> {
    let started = Instant::now();
    let process = loop {
        let mut process = match adopt(layout).await? {
            Some(process) => process,
            None => spawn(layout, binaries)?,
        };
        match process.wait_ready(layout).await {
            Ok(()) => break process,
            // It was on its way down when it was adopted: the next one will be ours.
            Err(_) if process.child.is_none() && !process.lives() => {}
            Err(error) => return Err(error),
        }
    };
    let how = if process.child.is_some() { "started" } else { "adopted" };
    tracing::info!(
        pid = process.pid.as_raw(),
        took_ms = started.elapsed().as_millis() as u64,
        "embedded database {how}"
    );
    Ok(process)
}

/// Stops whatever postmaster of this cluster runs.
pub(super) async fn stop_any(layout: &Layout) {
    let named = PidFile::read(layout).map(|named| named.pid);
    if let Some(pid) = named.filter(|pid| runs_in(*pid, &layout.data)) {
        Process { pid, child: None, data: layout.data.clone() }.stop().await;
    }
}

/// The postmaster named in postmaster.pid, if it lives and is of this cluster. Whatever else a dead
/// server left behind is waited for and cleared away.
async fn adopt(layout: &Layout) -> Result<Option<Process>, PostgresError> {
    let deadline = Instant::now() + ORPHANS_LIMIT;
    loop {
        let living = living(&layout.data);
        let named = PidFile::read(layout).filter(|named| living.contains(&named.pid));
        if let Some(named) = named {
            let process = Process { pid: named.pid, child: None, data: layout.data.clone() };
            if named.port != layout.port() || named.listen != layout.listen {
                tracing::info!("the running server listens elsewhere: restarting it");
                process.stop().await;
                continue;
            }
            // The files of settings were just written; who may come in is read again at a SIGHUP.
            let _ = kill(named.pid, Signal::SIGHUP);
            return Ok(Some(process));
        }
        if living.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            let output = format!(
                "processes {living:?} still run in {} without a postmaster; end them first",
                layout.data.display()
            );
            return Err(PostgresError::Program { program: "postgres", output });
        }
        tokio::time::sleep(POLL).await;
    }
    clear_leftovers(layout)?;
    Ok(None)
}

/// A dead server's pid file and socket files block the next start when its pid is in use again, or
/// held by a zombie that nobody reaps (a container without an init). Nothing lives and we hold the
/// lock, so they are ours to remove; the files of the cluster itself stay untouched.
fn clear_leftovers(layout: &Layout) -> Result<(), PostgresError> {
    let socket = layout.socket_file();
    let lock = socket.with_extension(format!("{}.lock", layout.port()));
    for path in [layout.data.join("postmaster.pid"), socket, lock] {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::debug!(path = %path.display(), "removed a dead server's file"),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(PostgresError::file("cannot remove", &path)(e)),
        }
    }
    Ok(())
}

fn spawn(layout: &Layout, binaries: &Binaries) -> Result<Process, PostgresError> {
    let log = open_log(layout).map_err(PostgresError::file("cannot open", &layout.log))?;
    let errors = log.try_clone().map_err(PostgresError::file("cannot open", &layout.log))?;
    let program = binaries.program("postgres");
    let child = as_user(layout, &program)
        .arg("-D")
        .arg(&layout.data)
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(PostgresError::file("cannot run", &program))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let pid = pid.expect("invariant: a child that was not waited for has an id");
    Ok(Process { pid, child: Some(child), data: layout.data.clone() })
}

fn open_log(layout: &Layout) -> std::io::Result<std::fs::File> {
    let keep = std::fs::metadata(&layout.log).is_ok_and(|log| log.len() < LOG_LIMIT);
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    if keep {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    let log = options.open(&layout.log)?;
    chown(&layout.log, Some(layout.user.uid.as_raw()), Some(layout.user.gid.as_raw()))?;
    Ok(log)
}

impl Process {
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Returns once the server answers a query.
    async fn wait_ready(&mut self, layout: &Layout) -> Result<(), PostgresError> {
        let deadline = Instant::now() + READY_LIMIT;
        let options = layout.connect_options().database("postgres");
        loop {
            let last = match store::answers(&options).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !self.lives() {
                let output = tail(&layout.log);
                return Err(PostgresError::Program { program: "postgres", output });
            }
            if Instant::now() >= deadline {
                return Err(PostgresError::NotReady {
                    seconds: READY_LIMIT.as_secs(),
                    last: last.to_string(),
                    log: layout.log.clone(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn lives(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => runs_in(self.pid, &self.data),
        }
    }

    /// Returns when the postmaster has ended.
    pub(super) async fn ended(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that there is nothing left to wait for.
            let _ = child.wait().await;
            return;
        }
        while runs_in(self.pid, &self.data) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Fast shutdown, then an immediate one if that takes too long (the next start then recovers).
    pub(super) async fn stop(mut self) {
        for (signal, limit) in
            [(Signal::SIGINT, STOP_LIMIT), (Signal::SIGQUIT, STOP_LIMIT), (Signal::SIGKILL, POLL)]
        {
            // The only way to fail is that the process is gone.
            let _ = kill(self.pid, signal);
            if tokio::time::timeout(limit, self.ended_quickly()).await.is_ok() {
                return;
            }
            tracing::warn!(pid = self.pid.as_raw(), "embedded database does not stop at {signal}");
        }
    }

    async fn ended_quickly(&mut self) {
        while self.lives() {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Every process whose working directory is the cluster's: the postmaster and its children. The
/// kernel shows none for a zombie.
fn living(data: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    pids.filter(|pid| runs_in(*pid, data)).collect()
}

fn runs_in(pid: Pid, data: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2_000)..]).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
