//! Minutes of hours that are over, from rows into a row for each host.
//!
//! They come a minute at a time, all hosts in each. Packed they are a quarter as large, and a host's day is on some dozens of
//! pages of the disk instead of 1,440. What comes late makes a host's hour again.

use super::roll::bounded;
use super::{HOUR, Marks, Progress};
use crate::locks::Job;
use crate::partitions::MINUTE_BLOCKS;
use crate::{Store, time};

/// $1 and $2: from and to, an hour.
const INSERT: &str = "
INSERT INTO store.minute_block (host_id, hour, minute, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns, offset_max_ns, boot_no, steps,
    samples, without_window, first_ms, last_ms, gap_ms, epochs, worst_state, sources_min)
SELECT host_id, $1, array_agg((extract(epoch FROM bucket - $1) / 60)::int2),
    array_agg(lo_ns), array_agg(hi_ns), array_agg(widest_ns), array_agg(offset_ns), array_agg(offset_min_ns),
    array_agg(offset_max_ns), array_agg(boot_no), array_agg(steps), array_agg(samples),
    array_agg(without_window), array_agg(first_ms), array_agg(last_ms), array_agg(gap_ms), array_agg(epochs),
    array_agg(worst_state), array_agg(sources_min)
FROM (SELECT * FROM {minutes} ORDER BY host_id, bucket) m
GROUP BY host_id";

impl Store {
    /// Packs at most `most_hours` of the hours that are rolled up.
    pub(super) async fn pack(
        &self,
        most_hours: u64,
        progress: &mut Progress,
    ) -> Result<(), sqlx::Error> {
        for _ in 0..most_hours {
            if !self.pack_hour().await? {
                break;
            }
            progress.packed += 1;
        }
        Ok(())
    }

    /// Packs the next hour, if it is rolled up and no other collector is at the rollups.
    async fn pack_hour(&self) -> Result<bool, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        // Nor does a correction write rows of what is being packed.
        let alone = Job::Rolling.alone(&mut tx).await?;
        let marks = Marks::read(&mut *tx).await?;
        let hour = marks.minutes_packed;
        if !alone || marks.are_unset() || hour + HOUR > marks.hours_until {
            tx.rollback().await?;
            return Ok(false);
        }
        MINUTE_BLOCKS.make(&mut tx, hour, hour).await?;
        let rows = "store.rollup_minute WHERE bucket >= $1 AND bucket < $2";
        bounded(insert(rows), hour, hour + HOUR).execute(&mut *tx).await?;
        sqlx::query!(
            "UPDATE store.tier_mark SET minutes_packed = $1",
            time::to_sql(hour + HOUR) as _
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Puts the minutes of an hour, as FROM has them, into blocks.
pub(super) fn insert(minutes: &str) -> String {
    INSERT.replace("{minutes}", minutes)
}
