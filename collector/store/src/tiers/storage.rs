use crate::Store;

/// What the tiers of the store take, and will take.
#[derive(Clone, Debug)]
pub struct StorageReport {
    /// Each tier, in the order in which data flows.
    pub tiers: Vec<TierSize>,
    /// Growth of all tiers together, bytes a day; `None`: no whole day is stored yet.
    pub bytes_per_day: Option<i64>,
    /// Size of all tiers together once each is as old as it is kept.
    pub bytes_at_retention: Option<i64>,
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
}

impl StorageReport {
    /// Days until `free` bytes are used up; `None`: never, for retention is reached first, or unknown.
    pub fn days_until_full(&self, free: i64) -> Option<i64> {
        let per_day = self.bytes_per_day.filter(|bytes| *bytes > 0)?;
        let now: i64 = self.tiers.iter().map(|tier| tier.bytes).sum();
        (self.bytes_at_retention?.saturating_sub(now) > free).then_some(free / per_day)
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
            r#"SELECT tier AS "tier!", extract(epoch FROM keep)::float8 AS "keep_s!", bytes AS "bytes!",
                      partitions AS "partitions!", rows_estimate AS "rows_estimate!", bytes_per_day,
                      bytes_at_retention
               FROM fleet.storage
               ORDER BY array_position(ARRAY['raw', 'late', 'samples', 'minutes', 'hours', 'events'], tier)"#
        )
        .fetch_all(&self.pool)
        .await?;
        let sum = |of: fn(&TierSize) -> Option<i64>| {
            tiers.iter().filter_map(of).reduce(i64::saturating_add)
        };
        let bytes_per_day = sum(|tier| tier.bytes_per_day);
        let bytes_at_retention = bytes_per_day.and_then(|_| sum(|tier| tier.bytes_at_retention));
        Ok(StorageReport { bytes_per_day, bytes_at_retention, tiers })
    }
}
