//! What the agent knows, for readers on this host: the `--json` stream and the status socket.

mod printer;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_core::Steering;
use anyhow::{Context, Result, bail};
use timebase::Report;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::printer::Printer;
use crate::spool::SpoolMetrics;
use crate::sys::clock;
use crate::uplink::UplinkState;
use crate::view::{DisciplineView, View};

/// A reader that does not take its snapshot within this time is left.
const READER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for the time path to say what it knows now; it answers within a millisecond.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);
/// Everybody may read the snapshot.
pub const STATUS_MODE: u32 = 0o666;
/// How often `--json` prints.
const PRINT_EVERY: Duration = Duration::from_secs(1);

/// The latest snapshot, and how things stand with spool and collector.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// From the time path; `None` before its first.
    pub snapshots: watch::Receiver<Option<Arc<Report>>>,
    /// Asks the time path for one.
    pub wanted: Arc<Notify>,
    /// From the time path: how steering the clock stands.
    pub steering: watch::Receiver<Steering>,
    /// From the uplink, if there is one.
    pub uplink: Option<watch::Receiver<UplinkState>>,
    /// From the spool, if there is one.
    pub spool: Option<SpoolMetrics>,
}

impl Knowledge {
    /// The latest snapshot.
    pub fn report(&self) -> Option<Arc<Report>> {
        self.snapshots.borrow().clone()
    }

    /// Has the time path make a snapshot of this moment: it makes none on its own between answers,
    /// so that an idle host is not woken for what nobody reads.
    pub async fn renew(&self) {
        let mut snapshots = self.snapshots.clone();
        snapshots.mark_unchanged();
        self.wanted.notify_one();
        // Without an answer the latest is shown, which says how old it is.
        let _ = timeout(ANSWER_PATIENCE, snapshots.changed()).await;
    }

    /// Seconds since the latest snapshot.
    pub fn age_s(&self) -> Option<f64> {
        self.report().map(|report| (clock::raw() - report.raw).as_secs_f64())
    }

    /// The view of all of it.
    pub fn view(&self) -> Option<View> {
        let mut view = View::of(self.report()?.as_ref());
        view.discipline = DisciplineView::of(*self.steering.borrow());
        view.uplink = self.uplink.as_ref().map(|state| match &*state.borrow() {
            UplinkState::Connected => "connected".to_owned(),
            UplinkState::Resting => "resting: everything is delivered".to_owned(),
            UplinkState::Down(why) => format!("down: {why}"),
            UplinkState::Denied(why) => format!("denied: {why}"),
        });
        view.unsent_reports = self.spool.as_ref().map(|spool| spool.reports.get());
        Some(view)
    }

    fn json(&self) -> Option<String> {
        let mut text = serde_json::to_string(&self.view()?).ok()?;
        text.push('\n');
        Some(text)
    }
}

/// Prints one object a second until `stop`, or until nobody reads.
pub async fn print_json(mut knowledge: Knowledge, stop: CancellationToken) {
    let mut tick = interval(PRINT_EVERY);
    let mut printer = match Printer::stdout() {
        Ok(printer) => printer,
        Err(error) => {
            warn!("there is no standard output to print to: {error}");
            stop.cancel();
            return;
        }
    };
    if knowledge.snapshots.wait_for(Option::is_some).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        knowledge.renew().await;
        let Some(text) = knowledge.json() else { return };
        if printer.print(&text).is_err() {
            debug!("nobody reads the output any more");
            stop.cancel();
            return;
        }
    }
}

/// A socket for others on this host; removed when it is dropped.
#[derive(Debug)]
pub struct LocalSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl LocalSocket {
    /// Makes the socket, in place of one left behind by an agent that was killed; `mode` says who may
    /// connect, of those who can enter the directory.
    pub async fn bind(path: &Path, mode: u32) -> Result<Self> {
        let place = || format!("socket {}", path.display());
        if UnixStream::connect(path).await.is_ok() {
            bail!("{}: another agent answers there; give this one its own --state-dir", place());
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(place);
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).with_context(place)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .with_context(place)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// The next connection; `None` when it is time to `stop`.
    pub(crate) async fn accept(&self, stop: &CancellationToken) -> Option<UnixStream> {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return None,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => return Some(stream),
                // Out of file descriptors: wait for some to be closed.
                Err(_) => tokio::time::sleep(READER_PATIENCE).await,
            }
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers every connection with one snapshot and closes it. Never reads.
pub async fn serve_status(socket: LocalSocket, knowledge: Knowledge, stop: CancellationToken) {
    while let Some(mut stream) = socket.accept(&stop).await {
        knowledge.renew().await;
        // One after the other is enough for people, and bounds what readers can take.
        if let Some(text) = knowledge.json() {
            let _ = timeout(READER_PATIENCE, stream.write_all(text.as_bytes())).await;
        }
    }
}
