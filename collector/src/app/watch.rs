use std::fmt::Display;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::observe::Health;

/// Notices a task that ends by itself: with an error, in a panic or just so. A process that goes on
/// without one of its parts looks alive and does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    health: Health,
    failed: CancellationToken,
    stopping: CancellationToken,
}

impl Watch {
    pub(super) fn new(health: Health) -> Self {
        Self { health, ..Self::default() }
    }

    /// From now on tasks may end.
    pub(super) fn stopping(&self) {
        self.stopping.cancel();
    }

    /// Returns when a task has ended although nobody stopped it.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Runs a task that is a part of `part`.
    pub(crate) fn spawn(
        &self,
        part: &'static str,
        run: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> JoinHandle<()> {
        let alarm = Alarm { watch: self.clone(), part };
        tokio::spawn(async move {
            match run.await {
                Err(error) => alarm.raise(format!("{error:#}")),
                Ok(()) if alarm.watch.stopping.is_cancelled() => {}
                Ok(()) => alarm.raise("ended by itself"),
            }
        })
    }
}

/// Dropped by a panic, it raises itself.
struct Alarm {
    watch: Watch,
    part: &'static str,
}

impl Alarm {
    fn raise(&self, why: impl Display) {
        tracing::error!(part = self.part, "{} failed: {why}", self.part);
        self.watch.health.not_ready(self.part, format!("failed: {why}"));
        self.watch.failed.cancel();
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.raise("it panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(
        watch: &Watch,
        run: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> (bool, Vec<String>) {
        let _ = watch.spawn("ingest", run).await;
        (watch.failed.is_cancelled(), watch.health.missing())
    }

    /// Proves that a task which panics, fails or merely ends is noticed and named in what is not ready.
    #[tokio::test]
    async fn every_end_is_noticed() {
        let panic = async { panic!("on purpose") };
        let panicked = outcome(&Watch::default(), panic).await;
        assert_eq!(panicked, (true, vec!["ingest: failed: it panicked".into()]));
        let error = async { Err(anyhow::anyhow!("no socket").context("gRPC")) };
        let failed = outcome(&Watch::default(), error).await;
        assert_eq!(failed, (true, vec!["ingest: failed: gRPC: no socket".into()]));
        let ended = outcome(&Watch::default(), async { Ok(()) }).await;
        assert_eq!(ended, (true, vec!["ingest: failed: ended by itself".into()]));
    }

    /// Proves that nothing is wrong with a task that ends when everything stops, or is cut short.
    #[tokio::test]
    async fn a_stop_is_no_failure() {
        let watch = Watch::default();
        let task = watch.spawn("ingest", std::future::pending());
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        assert!(!watch.failed.is_cancelled());
        watch.stopping();
        assert_eq!(outcome(&watch, async { Ok(()) }).await, (false, vec![]));
    }
}
