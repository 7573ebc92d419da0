//! Rollups of an hour, gathered by host.
//!
//! They come an hour at a time, all hosts in each, so that no two hours of a host share a page of the disk: a year
//! would be read from 8,760 pages. When a day is over, its rows are taken out and put in again, one host after the
//! other: then a year is some 500 pages. They stay rows of the same table. Readers see them all the time, what comes
//! late corrects them as before, and the room they leave is that of the hours to come (autovacuum frees it).

use timebase::{Span, Timestamp, Utc};

use super::{HOUR, Progress, floor, last_of_next};
use crate::locks::Job;
use crate::partitions::HOURS;
use crate::{Store, time};

const DAY: Span = HOUR.times(24);
/// Hosts whose rows are moved in one transaction; minutes are not rolled up meanwhile.
const HOSTS_AT_ONCE: i64 = 4_000;

impl Store {
    /// Gathers at most `most_days` of the days that are over.
    pub(super) async fn gather(
        &self,
        most_days: u64,
        progress: &mut Progress,
    ) -> Result<(), sqlx::Error> {
        for _ in 0..most_days {
            let Some(day) = self.day_to_gather().await? else { break };
            let mut after = i64::MIN;
            while let Some(last) = self.gather_hosts(day, after).await? {
                after = last;
            }
            if after < i64::MAX {
                break; // another collector is at the rollups
            }
            progress.days += 1;
        }
        Ok(())
    }

    /// The start of the next day all of whose hours are rolled up.
    async fn day_to_gather(&self) -> Result<Option<Timestamp<Utc>>, sqlx::Error> {
        let marks = self.marks().await?;
        // Nothing is older than the oldest partition.
        let there = HOURS.ranges(&mut *self.pool.acquire().await?).await?;
        let oldest = there.iter().map(|(_, range)| range.0).min();
        let day = floor(marks.hours_gathered.max(oldest.unwrap_or(marks.hours_gathered)), DAY);
        Ok((!marks.are_unset() && day + DAY <= marks.hours_until).then_some(day))
    }

    /// Moves the day's rows of the hosts that follow `after`. The last of them; the greatest number there is: all
    /// are done. `None`: they were before, or another collector is at the rollups.
    async fn gather_hosts(
        &self,
        day: Timestamp<Utc>,
        after: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        // Nor does a correction put in again what is being moved.
        if after == i64::MAX || !Job::Rolling.alone(&mut tx).await? {
            return Ok(None);
        }
        let last = last_of_next(&mut tx, after, HOSTS_AT_ONCE).await?;
        sqlx::query!(
            "WITH taken AS (
                 DELETE FROM store.rollup_hour r USING store.host h
                 WHERE h.host_id > $1 AND h.host_id <= $2 AND r.host_id = h.host_id
                   AND r.bucket >= $3 AND r.bucket < $4
                 RETURNING r.*)
             INSERT INTO store.rollup_hour SELECT * FROM taken ORDER BY host_id, bucket",
            after,
            last,
            time::to_sql(day) as _,
            time::to_sql(day + DAY) as _
        )
        .execute(&mut *tx)
        .await?;
        if last == i64::MAX {
            sqlx::query!(
                "UPDATE store.tier_mark SET hours_gathered = $1",
                time::to_sql(day + DAY) as _
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Some(last))
    }
}
