//! The real binaries, end to end. Each file proves one promise of the product.

mod drift_alert;
mod falseticker;
mod first_light;
mod full_disk;
mod hostile;
mod hostile_client;
mod light_fleet;
mod no_loss;
mod no_loss_in_tiers;
mod outage;
mod restart;
mod sql;

use std::time::Duration;

use anyhow::Result;
use house_tests::eventually;
use sqlx::PgPool;

/// Far above what a step takes on a loaded machine, so that it says something only when it is broken.
const SOON: Duration = Duration::from_secs(30);

/// Waits until `host` has at least `count` samples with a window, and gives all of them: lo, hi, ns.
async fn windows(reader: &PgPool, host: &str, count: usize) -> Result<Vec<(i64, i64)>> {
    eventually("samples with a window", SOON, async || {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT lo_ns, hi_ns FROM samples WHERE host = $1 AND lo_ns IS NOT NULL ORDER BY seq",
        )
        .bind(host)
        .fetch_all(reader)
        .await?;
        Ok(if rows.len() >= count { Ok(rows) } else { Err(format!("{} samples", rows.len())) })
    })
    .await
}
