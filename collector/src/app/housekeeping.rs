use std::time::Duration;

use store::Store;
use store::tiers::Progress;
use timebase::{Span, Timestamp, Utc};
use tokio_util::sync::CancellationToken;

use crate::config::database::Retention;

/// A minute that is over is rolled up within the next.
const EVERY: Duration = Duration::from_secs(60);
/// Partitions exist a day ahead, so an hour lost to a database that is away does no harm.
const PARTITIONS_EVERY: Span = Span::from_secs(600);
/// A backlog is worked off in rounds, so that the rest of the house is kept meanwhile.
const HOURS_AT_ONCE: u64 = 24;

/// Rolls up and repacks what is over, makes the partitions to come and drops what is beyond retention; the first
/// time at once if work has piled up.
pub(super) async fn run(
    store: Store,
    keep: Retention,
    behind: bool,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut partitions_at = crate::clock::now() + PARTITIONS_EVERY;
    let mut pause = if behind { Duration::ZERO } else { EVERY };
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = EVERY;
        let now = crate::clock::now();
        // Killed half-way or stopped, it begins again where it was.
        let repacked = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            repacked = tiers(&store, &keep, now) => repacked,
        };
        // What was repacked leaves a partition to drop.
        if repacked || now >= partitions_at {
            drop_old(&store, &keep, now).await;
            partitions_at = now + PARTITIONS_EVERY;
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

async fn tiers(store: &Store, keep: &Retention, now: Timestamp<Utc>) -> bool {
    match store.maintain_tiers(now, &keep.tiers(), HOURS_AT_ONCE).await {
        Ok(Progress { minutes, corrected, hours, samples, late, days }) => {
            tracing::debug!(
                minutes,
                corrected,
                hours,
                samples,
                late,
                days,
                "rollups and repacked hours"
            );
            hours > 0
        }
        Err(error) => {
            tracing::error!(%error, "cannot roll up or repack samples; will try again");
            false
        }
    }
}

async fn drop_old(store: &Store, keep: &Retention, now: Timestamp<Utc>) {
    match store.maintain_partitions(now, &keep.tiers()).await {
        Ok(done) => tracing::info!(made = done.made, dropped = done.dropped, "partitions"),
        Err(error) => tracing::error!(%error, "cannot maintain partitions; will try again"),
    }
    match store.prune_alerts(now, keep.alerts).await {
        Ok(0) => {}
        Ok(dropped) => tracing::info!(dropped, "old alerts"),
        Err(error) => tracing::error!(%error, "cannot drop old alerts; will try again"),
    }
}
