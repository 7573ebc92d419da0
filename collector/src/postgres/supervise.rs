use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::binaries::Binaries;
use super::layout::Layout;
use super::process::{self, Process};

/// The pause before a restart doubles from the first to the last of these while it keeps failing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// A server that lived so long was not failing.
const HEALTHY: Duration = Duration::from_secs(60);

/// Restarts the server whenever it ends by itself.
#[derive(Debug)]
pub(super) struct Supervisor {
    task: JoinHandle<()>,
    stop: CancellationToken,
    state: watch::Receiver<Option<i32>>,
    up: watch::Receiver<bool>,
}

impl Supervisor {
    pub(super) fn watch(process: Process, layout: Layout, binaries: Binaries) -> Self {
        let stop = CancellationToken::new();
        let (pid_to, state) = watch::channel(Some(process.pid()));
        let (up_to, up) = watch::channel(true);
        let announce = move |pid: Option<i32>| {
            pid_to.send_replace(pid);
            up_to.send_replace(pid.is_some());
        };
        let task = tokio::spawn(run(process, layout, binaries, stop.clone(), announce));
        Self { task, stop, state, up }
    }

    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.clone()
    }

    pub(super) fn pid(&self) -> Option<i32> {
        *self.state.borrow()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the watch over the embedded database ended badly");
        }
    }
}

async fn run(
    mut process: Process,
    layout: Layout,
    binaries: Binaries,
    stop: CancellationToken,
    announce: impl Fn(Option<i32>),
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = tokio::time::Instant::now();
        tokio::select! {
            () = stop.cancelled() => return process.stop().await,
            () = process.ended() => {}
        }
        announce(None);
        tracing::error!(pid = process.pid(), "embedded database ended by itself; restarting it");
        if started.elapsed() > HEALTHY {
            pause = FIRST_PAUSE;
        }
        process = loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LAST_PAUSE);
            let restarted = tokio::select! {
                () = stop.cancelled() => return process::stop_any(&layout).await,
                restarted = process::start_or_adopt(&layout, &binaries) => restarted,
            };
            match restarted {
                Ok(process) => break process,
                Err(error) => tracing::error!(%error, "cannot restart the embedded database"),
            }
        };
        announce(Some(process.pid()));
    }
}
