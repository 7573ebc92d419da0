use std::mem::discriminant;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::Store;
use store::doubt::Doubt;
use store::tiers::Progress;
use timebase::{Timestamp, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::database::Retention;
use crate::observe::Health;

/// A minute that is over is rolled up within the next.
const EVERY: Duration = Duration::from_secs(60);
/// Partitions exist a day ahead, so an hour lost to a database that is away does no harm.
const PARTITIONS_EVERY: Duration = Duration::from_secs(600);
/// A backlog is worked off in rounds, so that the rest of the house is kept meanwhile.
const HOURS_AT_ONCE: u64 = 24;
/// What of [`Health`] this is.
const PART: &str = "clock";

/// Rolls up and repacks what is over, makes the partitions to come and drops what is beyond retention; all but the
/// partitions to come only while the clock can be right.
pub struct Housekeeper {
    store: Store,
    keep: Retention,
    health: Health,
    trusted: Gauge,
    doubted: Option<Doubt>,
    partitions_at: Instant,
    /// Rollups are left to be packed or corrected: the next round is due at once.
    unfinished: bool,
}

impl Housekeeper {
    /// Does nothing by itself.
    pub fn new(store: Store, keep: Retention, health: Health, registry: &mut Registry) -> Self {
        let trusted = Gauge::default();
        let help =
            "Whether this machine's clock is good enough to close hours and drop what is old";
        registry.register("clock_trusted", help, trusted.clone());
        // In the first round: what was to be dropped when the last collector died.
        let partitions_at = Instant::now();
        Self { store, keep, health, trusted, doubted: None, partitions_at, unfinished: false }
    }

    /// A round every minute; the first at once if work has piled up (`behind`).
    pub(super) async fn run(mut self, behind: bool, stop: CancellationToken) -> anyhow::Result<()> {
        let mut pause = if behind { Duration::ZERO } else { EVERY };
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            // Killed half-way or stopped, it begins again where it was.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.round(clock::now) => {}
            }
            pause = if self.unfinished { Duration::ZERO } else { EVERY };
        }
    }

    /// One round.
    pub async fn round(&mut self, clock: fn() -> Timestamp<Utc>) {
        let now = clock();
        self.unfinished = false;
        if !self.trusts(clock).await {
            if let Err(error) = self.store.make_partitions(now).await {
                tracing::error!(%error, "cannot make partitions; will try again");
            }
            return;
        }
        let repacked = self.tiers(now).await;
        // What was repacked leaves a partition to drop.
        if repacked || Instant::now() >= self.partitions_at {
            self.drop_old(now).await;
            self.partitions_at = Instant::now() + PARTITIONS_EVERY;
        } else if let Err(error) = self.store.drop_packed().await {
            tracing::error!(%error, "cannot drop packed hours; will try again");
        }
        match self.store.prune_log_lines(now, self.keep.log_lines).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "old log lines"),
            Err(error) => tracing::error!(%error, "cannot drop old log lines; will try again"),
        }
    }

    /// Whether the clock can be right; says so where it is asked for.
    pub(super) async fn trusts(&mut self, clock: fn() -> Timestamp<Utc>) -> bool {
        let doubt = match self.store.doubt(clock).await {
            Ok(doubt) => doubt,
            Err(error) => {
                tracing::error!(%error, "cannot tell whether the clock is right; will try again");
                return false;
            }
        };
        if doubt.as_ref().map(discriminant) != self.doubted.as_ref().map(discriminant) {
            match &doubt {
                Some(doubt) => tracing::warn!("no hour is closed and nothing old dropped: {doubt}"),
                None => tracing::info!("the clock is trusted again"),
            }
        }
        match &doubt {
            // Here it is this collector or its database, and others may do better.
            Some(doubt @ Doubt::Database(_)) => self.health.not_ready(PART, doubt.to_string()),
            _ => self.health.ready(PART),
        }
        self.trusted.set(doubt.is_none().into());
        self.doubted = doubt;
        self.doubted.is_none()
    }

    async fn tiers(&mut self, now: Timestamp<Utc>) -> bool {
        match self.store.maintain_tiers(now, &self.keep.tiers(), HOURS_AT_ONCE).await {
            Ok(Progress { minutes, packed, corrected, unfinished, hours, samples, late, days }) => {
                self.unfinished = unfinished;
                tracing::debug!(
                    minutes,
                    corrected,
                    packed,
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

    async fn drop_old(&self, now: Timestamp<Utc>) {
        match self.store.maintain_partitions(now, &self.keep.tiers()).await {
            Ok(done) => tracing::info!(made = done.made, dropped = done.dropped, "partitions"),
            Err(error) => tracing::error!(%error, "cannot maintain partitions; will try again"),
        }
        if let Err(error) = self.store.prune_epochs(now, self.keep.samples).await {
            tracing::error!(%error, "cannot drop old clock epochs; will try again");
        }
        match self.store.prune_alerts(now, self.keep.alerts).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "old alerts"),
            Err(error) => tracing::error!(%error, "cannot drop old alerts; will try again"),
        }
    }
}
