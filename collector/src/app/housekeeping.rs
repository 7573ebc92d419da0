use std::time::Duration;

use store::Store;
use timebase::Span;
use tokio_util::sync::CancellationToken;

/// Partitions exist days ahead, so an hour lost to a database that is away does no harm.
const EVERY: Duration = Duration::from_secs(3_600);

/// Makes the partitions to come and drops those beyond retention, every hour.
pub(super) async fn run(store: Store, keep: Span, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        match store.maintain_partitions(crate::clock::now(), keep).await {
            Ok(done) => tracing::info!(made = done.made, dropped = done.dropped, "partitions"),
            Err(error) => tracing::error!(%error, "cannot maintain partitions; will try again"),
        }
    }
}
