use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::Store;
use store::ingest::Memory;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agent::Shared;
use super::connection;
use super::identity::Strangers;
use super::quota::Quota;
use super::refusals::Refusals;
use super::service::Service;
use super::sessions::Sessions;
use super::writer::{Queues, Writer};
use super::{Listener, Metrics};
use crate::app::{Role, Watch};
use crate::config::ingest::Ingest;
use crate::config::span;

/// What was received gets so long to be committed and answered when we stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Connections without a session get so long to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The running ingest role.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    drain: CancellationToken,
    sessions: Arc<Sessions>,
    finish: CancellationToken,
    give_up: CancellationToken,
    calls: TaskTracker,
    server: JoinHandle<()>,
    writers: Vec<JoinHandle<()>>,
    revocations: JoinHandle<()>,
}

impl Server {
    /// Starts to take reports; `watch` notices when it ends by itself.
    pub(crate) fn start(
        at: Listener,
        store: Store,
        config: &Ingest,
        metrics: Metrics,
        watch: &Watch,
    ) -> Self {
        let (drain, finish) = (CancellationToken::new(), CancellationToken::new());
        let give_up = CancellationToken::new();
        let (queues, jobs) = Queues::new(config.writers.get().into(), metrics.clone());
        let refusals = Refusals::new(metrics.clone());
        let part = Role::Ingest.word();
        let writers = jobs.into_iter().map(|jobs| {
            let writer = Writer {
                store: store.clone(),
                memory: Memory::default(),
                linger: span::std(config.linger),
                refusals: refusals.clone(),
                metrics: metrics.clone(),
                finish: finish.clone(),
                give_up: give_up.clone(),
            };
            watch.spawn(part, until_stopped(writer.run(jobs)))
        });
        let writers = writers.collect();
        let sessions = Sessions::new(Quota::new(config), metrics.clone());
        let every = span::std(config.revocation_check);
        let revocations = sessions.clone().watch_credentials(store.clone(), every, drain.clone());
        let calls = TaskTracker::new();
        let shared = Shared {
            store,
            queues,
            refusals,
            metrics: metrics.clone(),
            max_batch: config.max_batch.get(),
            idle: span::std(config.idle_timeout),
        };
        let service = Service {
            shared: Arc::new(shared),
            sessions: sessions.clone(),
            strangers: Strangers::new(config, metrics),
            most_message_bytes: config.max_message_bytes.get() as usize,
            calls: calls.clone(),
        };
        let address = at.address;
        let server = connection::accept(at.listener, at.tls, Arc::new(service), drain.clone());
        Self {
            address,
            drain,
            finish,
            give_up,
            sessions,
            calls,
            server: watch.spawn(part, until_stopped(server)),
            writers,
            revocations: watch.spawn(part, until_stopped(revocations)),
        }
    }

    /// Where agents connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more, commits and answers what was taken, ends. What the database does not take in time
    /// is not acknowledged: it stays in the agents' spools.
    pub async fn stop(self) {
        self.drain.cancel();
        self.sessions.stop();
        self.calls.close();
        if tokio::time::timeout(DRAIN_LIMIT, self.calls.wait()).await.is_err() {
            tracing::warn!("sessions did not end in time; what they hold is not acknowledged");
            self.give_up.cancel();
        }
        self.finish.cancel();
        let ended = Instant::now() + DRAIN_LIMIT;
        for writer in self.writers {
            end_by(ended, writer).await;
        }
        // The last answers leave; connections that never spoke are not waited for.
        end_by(Instant::now() + CLOSE_LIMIT, self.server).await;
        let _ = self.revocations.await;
    }
}

async fn until_stopped(run: impl Future<Output = ()>) -> anyhow::Result<()> {
    run.await;
    Ok(())
}

async fn end_by(deadline: Instant, task: JoinHandle<()>) {
    let abort = task.abort_handle();
    if tokio::time::timeout_at(deadline, task).await.is_err() {
        abort.abort();
    }
}
