use std::time::Duration;

use store::Store;
use tokio_util::sync::CancellationToken;

use crate::config::database::Retention;

/// Partitions exist days ahead, so an hour lost to a database that is away does no harm.
const EVERY: Duration = Duration::from_secs(3_600);

/// Makes the partitions to come and drops what is beyond retention, every hour.
pub(super) async fn run(
    store: Store,
    keep: Retention,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let now = crate::clock::now();
        match store.maintain_partitions(now, keep.samples).await {
            Ok(done) => tracing::info!(made = done.made, dropped = done.dropped, "partitions"),
            Err(error) => tracing::error!(%error, "cannot maintain partitions; will try again"),
        }
        match store.prune_alerts(now, keep.alerts).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "old alerts"),
            Err(error) => tracing::error!(%error, "cannot drop old alerts; will try again"),
        }
        if let Err(error) = store.prune_epochs(now, keep.samples).await {
            tracing::error!(%error, "cannot drop old clock epochs; will try again");
        }
        match store.prune_log_lines(now, keep.log_lines).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "old log lines"),
            Err(error) => tracing::error!(%error, "cannot drop old log lines; will try again"),
        }
    }
}
