//! The window of one host over time, thinned in the database so that extremes survive.

use uuid::Uuid;

use super::At;
use super::host::HostEvent;
use crate::Store;

/// One stretch of time: every sample of one clock epoch that falls into one bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The newest sample in it.
    pub at: At,
    /// Least `lo` of all samples, ns; null: none had a window.
    pub lo_ns: Option<i64>,
    /// Greatest `hi` of all samples, ns.
    pub hi_ns: Option<i64>,
    /// Estimate of the newest sample, ns.
    pub offset_ns: Option<i64>,
    /// Boot, which with `steps` names the clock epoch.
    pub boot_no: i32,
    /// Steps of the clock in that boot.
    pub steps: i32,
}

impl Store {
    /// The last `range_s` seconds of samples in buckets of `bucket_s` seconds, oldest first. The band
    /// of a bucket covers the band of every sample in it.
    pub async fn series(
        &self,
        host_uuid: Uuid,
        range_s: f64,
        bucket_s: f64,
    ) -> Result<Vec<Bucket>, sqlx::Error> {
        sqlx::query_as!(
            Bucket,
            r#"
            SELECT h.last_at AS "at!: At", h.lo_ns AS "lo_ns?", h.hi_ns AS "hi_ns?",
                   h.offset_ns AS "offset_ns?", h.boot_no AS "boot_no!", h.steps AS "steps!"
            FROM store.history((SELECT host_id FROM store.host WHERE host_uuid = $1),
                               now() - make_interval(secs => $2), now() + interval '1 microsecond', $3) h
            ORDER BY 1, 5, 6
            "#,
            host_uuid,
            range_s,
            bucket_s
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Its events of the last `range_s` seconds, oldest first, the newest `most` of them.
    pub async fn series_events(
        &self,
        host_uuid: Uuid,
        range_s: f64,
        most: i64,
    ) -> Result<Vec<HostEvent>, sqlx::Error> {
        let mut events = sqlx::query_as!(
            HostEvent,
            r#"
            SELECT e.ref_time AS "at: At", e.kind, e.size_ns, e.summary FROM store.event e
            WHERE e.host_id = (SELECT host_id FROM store.host WHERE host_uuid = $1)
              AND e.ref_time > now() - make_interval(secs => $2) AND e.ref_time <= now()
            ORDER BY e.ref_time DESC LIMIT $3
            "#,
            host_uuid,
            range_s,
            most
        )
        .fetch_all(&self.pool)
        .await?;
        events.reverse();
        Ok(events)
    }
}
