//! The evaluate role: snapshot → rules → alerts → one transaction, every few seconds.
//!
//! Any number of collectors may have this role; the one that holds the seat (a lock in the database)
//! judges, the others wait for it. Losing the database loses nothing: the next seat starts from what
//! was committed.

mod metrics;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use risk::{Alerts, Policies, rules};
use store::Store;
use store::alerts::Evaluation;
use store::fleet_view::Seat;
use store::listen::{Change, Listener};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Config, judge, span};

pub use metrics::Metrics;

/// How long until a collector without the seat, or without a database, tries again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// New samples are looked at this soon at the earliest, however fast they come.
const LEAST_PAUSE: Duration = Duration::from_millis(500);
/// From one evaluation to the next it is at least so many times as long as one takes, though the period be
/// shorter: a fleet of a hundred thousand must not keep the database busy with being judged.
const SHARE: u32 = 5;

/// An evaluation takes milliseconds; one that takes this long waits for a dead connection.
const LONGEST: Duration = Duration::from_secs(30);

/// What an evaluation needs besides the database.
struct Judge {
    policies: Policies,
    endpoints: Vec<String>,
    every: Duration,
    metrics: Metrics,
}

/// Judges until `stop`; waits out a lost database and another collector that judges.
///
/// # Errors
/// The policies are contradictory.
pub async fn run(
    store: Store,
    config: Arc<Config>,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let judge = Judge {
        policies: judge::policies(&config)?,
        endpoints: config.webhook.iter().map(|webhook| webhook.name.clone()).collect(),
        every: span::std(config.evaluate_every),
        metrics,
    };
    while !stop.is_cancelled() {
        match store.take_seat(clock::now()).await {
            Ok(Some(seat)) => {
                judge.metrics.seat.set(1);
                if let Err(error) = judge.sit(&store, seat, &stop).await {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "evaluation stopped, the database does not answer");
                    judge.metrics.failures.inc();
                }
                judge.metrics.seat.set(0);
            }
            Ok(None) => tracing::debug!("another collector evaluates"),
            Err(error) => {
                tracing::warn!(%error, "cannot evaluate, the database does not answer");
                judge.metrics.failures.inc();
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    }
    Ok(())
}

impl Judge {
    /// Judges as long as the seat holds; returns at `stop`.
    async fn sit(
        &self,
        store: &Store,
        mut seat: Seat,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // Longer than it ever is.
        seat.ends_when_idle(LONGEST * SHARE + self.every * 3).await?;
        let mut alerts = seat.remembered().await?;
        let mut samples = store.listen().await?;
        tracing::info!(alerts.open = alerts.open(), "this collector evaluates");
        loop {
            let begun = Instant::now();
            // A connection that hangs must not keep the seat from a collector that works.
            let evaluation = self.evaluate(&mut seat, &alerts);
            alerts = tokio::time::timeout(LONGEST, evaluation).await.context("it hangs")??;
            let earliest = begun + LEAST_PAUSE.min(self.every).max(begun.elapsed() * SHARE);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.due(earliest, begun + self.every, &mut samples) => {}
            }
        }
        seat.leave().await?;
        Ok(())
    }

    /// Returns when the period is over, or earlier if there is something new to look at.
    async fn due(&self, earliest: Instant, latest: Instant, samples: &mut Listener) {
        tokio::time::sleep_until(earliest).await;
        let new_samples = async {
            loop {
                match samples.next().await {
                    Ok(Change::Samples) => return,
                    Ok(_) => {}
                    // The listener heals itself or the seat breaks too; the period goes on meanwhile.
                    Err(_) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout_at(latest, new_samples).await;
    }

    /// One evaluation; the alerts after it. On an error nothing has changed.
    async fn evaluate(&self, seat: &mut Seat, alerts: &Alerts) -> Result<Alerts, sqlx::Error> {
        let begun = Instant::now();
        let view = seat.fleet_view(clock::now()).await?;
        let findings = rules::evaluate(&view, &self.policies);
        let (next, transitions) = alerts.step(&findings, view.reference_time);
        seat.apply(&Evaluation {
            at: view.reference_time,
            findings: &findings,
            alerts: &next,
            transitions: &transitions,
            endpoints: &self.endpoints,
        })
        .await?;
        for transition in &transitions {
            let (key, reason) = (&transition.key, transition.reason.word());
            let summary = transition.finding.as_ref().map_or("no longer so", |f| &f.summary);
            tracing::info!(alert.key = %key, alert.reason = reason, "alert {key} {reason}: {summary}");
        }
        self.metrics.observe(begun.elapsed(), &findings, &next, transitions.len());
        Ok(next)
    }
}
