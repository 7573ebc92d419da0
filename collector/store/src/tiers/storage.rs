use super::BEHIND;
use crate::Store;
use crate::pages::At;

/// What the tiers of the store take, and will take.
#[derive(Clone, Debug)]
pub struct StorageReport {
    /// Each tier, in the order in which data flows.
    pub tiers: Vec<TierSize>,
    /// Growth of all tiers together, bytes a day; `None`: no whole day is stored yet.
    pub bytes_per_day: Option<i64>,
    /// Size of all tiers together once each is as old as it is kept; one whose growth is not known stays as
    /// it is.
    pub bytes_at_retention: Option<i64>,
    /// Since when samples wait to be rolled up, where that is longer than rolling up takes.
    pub not_rolled_up_since: Option<At>,
}

/// One tier, as in view `fleet.storage`.
#[derive(Clone, Debug)]
pub struct TierSize {
    /// raw, late, samples, minutes, hours or events.
    pub tier: String,
    /// How long it is kept, seconds.
    pub keep_s: f64,
    /// Size now, with indexes.
    pub bytes: i64,
    /// Tables it is made of.
    pub partitions: i64,
    /// Rows, by the database's estimate.
    pub rows_estimate: i64,
    /// By the last whole day (or month).
    pub bytes_per_day: Option<i64>,
    /// Once it is as old as it is kept.
    pub bytes_at_retention: Option<i64>,
    /// Start of the oldest partition that holds something, or of what is kept.
    pub holds_from: Option<At>,
    /// How far it has got: what is newer is in the tier before it.
    pub holds_until: Option<At>,
}

impl StorageReport {
    fn new(tiers: Vec<TierSize>, not_rolled_up_since: Option<At>) -> Self {
        let growth = tiers.iter().filter_map(|tier| tier.bytes_per_day);
        let bytes_per_day = growth.reduce(i64::saturating_add);
        let to_expect = tiers.iter().map(|tier| tier.bytes_at_retention.unwrap_or(tier.bytes));
        let bytes_at_retention = bytes_per_day.map(|_| to_expect.fold(0, i64::saturating_add));
        Self { tiers, bytes_per_day, bytes_at_retention, not_rolled_up_since }
    }

    /// Size of all tiers together.
    pub fn bytes(&self) -> i64 {
        self.tiers.iter().map(|tier| tier.bytes).sum()
    }

    /// Days until `free` bytes are used up; `None`: never, for retention is reached first, or unknown.
    pub fn days_until_full(&self, free: u64) -> Option<f64> {
        let per_day = self.bytes_per_day.filter(|bytes| *bytes > 0)? as f64;
        let to_come = self.bytes_at_retention?.saturating_sub(self.bytes()) as f64;
        (to_come > free as f64).then_some(free as f64 / per_day)
    }
}

impl Store {
    /// What the tiers take. Tiers are known once a collector has run.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn storage_report(&self) -> Result<StorageReport, sqlx::Error> {
        let tiers = sqlx::query_as!(
            TierSize,
            r#"SELECT s.tier AS "tier!", extract(epoch FROM s.keep)::float8 AS "keep_s!", s.bytes AS "bytes!",
                      s.partitions AS "partitions!", s.rows_estimate AS "rows_estimate!", s.bytes_per_day,
                      s.bytes_at_retention,
                      CASE WHEN p.oldest IS NOT NULL THEN
                          CASE s.tier WHEN 'raw' THEN greatest(p.oldest, m.closed_until)
                                      WHEN 'samples' THEN greatest(p.oldest, m.samples_from)
                                      WHEN 'minutes' THEN greatest(p.oldest, m.minutes_from)
                                      WHEN 'hours' THEN p.oldest END END AS "holds_from: At",
                      CASE s.tier WHEN 'raw' THEN now() WHEN 'samples' THEN m.closed_until
                                  WHEN 'minutes' THEN m.minutes_until
                                  WHEN 'hours' THEN m.hours_until END AS "holds_until: At"
               FROM fleet.storage s JOIN store.tier t USING (tier) CROSS JOIN store.tier_mark m
               CROSS JOIN LATERAL (
                   SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)')::timestamptz)
                       FILTER (WHERE pg_relation_size(c.oid) > 0) AS oldest
                   FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = to_regclass('store.' || t.parent)
                      OR s.tier = 'minutes' AND i.inhparent = to_regclass('store.rollup_minute')) p
               ORDER BY array_position(ARRAY['raw', 'late', 'samples', 'minutes', 'hours', 'events'], s.tier)"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(StorageReport::new(tiers, self.not_rolled_up_since().await?))
    }

    /// The marks of a new database lie before its first sample: only samples are late.
    async fn not_rolled_up_since(&self) -> Result<Option<At>, sqlx::Error> {
        let behind = sqlx::query_scalar!(
            r#"SELECT minutes_until AS "since: At" FROM store.tier_mark
               WHERE minutes_until < now() - make_interval(secs => $1)"#,
            BEHIND.as_secs_f64()
        );
        let Some(since) = behind.fetch_optional(&self.pool).await? else { return Ok(None) };
        // Two statements: Citus does not let rows of a table of every node choose those of a distributed one.
        let waits = sqlx::query_scalar!(
            r#"SELECT 1 AS "one!" FROM store.sample
               WHERE ref_time >= $1 AND ref_time < now() - make_interval(secs => $2) LIMIT 1"#,
            since as _,
            BEHIND.as_secs_f64()
        );
        Ok(waits.fetch_optional(&self.pool).await?.map(|_| since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(bytes: i64, per_day: Option<i64>, keep_days: i64) -> TierSize {
        TierSize {
            tier: "samples".to_owned(),
            keep_s: keep_days as f64 * 86_400.0,
            bytes,
            partitions: 1,
            rows_estimate: 0,
            bytes_per_day: per_day,
            bytes_at_retention: per_day.map(|bytes| bytes * keep_days),
            holds_from: None,
            holds_until: None,
        }
    }

    /// Proves the forecast: the sum of the tiers, and when the disk is too small for what is to come.
    #[test]
    fn forecast() {
        let growing =
            StorageReport::new(vec![tier(10_000, Some(1_000), 30), tier(500, None, 365)], None);
        assert_eq!(growing.bytes(), 10_500);
        assert_eq!(
            (growing.bytes_per_day, growing.bytes_at_retention),
            (Some(1_000), Some(30_500))
        );
        assert_eq!(growing.days_until_full(20_000), None);
        assert_eq!(growing.days_until_full(5_000), Some(5.0));
        let steady = StorageReport::new(vec![tier(30_000, Some(1_000), 30)], None);
        assert_eq!(steady.days_until_full(0), None, "what retention drops makes room");
        let young = StorageReport::new(vec![tier(10, None, 30)], None);
        assert_eq!((young.bytes_at_retention, young.days_until_full(0)), (None, None));
    }
}
