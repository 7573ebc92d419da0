//! Minutes of hours that are over, from rows into a row for each host.
//!
//! They come a minute at a time, all hosts in each. Packed they are a quarter as large, and a host's day is on some dozens of
//! pages of the disk instead of 1,440. What comes late makes a host's hour again.

use timebase::{Span, Timestamp, Utc};

use super::roll::bounded;
use super::{HOUR, Marks, Progress, last_of_next};
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

/// An hour is packed so long after its end: most of what comes late has come.
const OPEN: Span = HOUR;
/// Hosts whose hour is packed in one transaction. A long one would keep the server from reusing the room of newest
/// states, which are rewritten every few seconds.
const HOSTS_AT_ONCE: i64 = 2_000;
/// Transactions of one round: the rest waits until minutes that are over are rolled up.
const TURNS: u32 = 20;

impl Store {
    /// Packs what is due, or as much of it as one round should do.
    pub(super) async fn pack(&self, progress: &mut Progress) -> Result<(), sqlx::Error> {
        for _ in 0..TURNS {
            let Some(whole) = self.pack_hosts().await? else { return Ok(()) };
            progress.packed += u64::from(whole);
        }
        progress.unfinished = true;
        Ok(())
    }

    /// Packs the next hour that is due for some hosts; whether it is packed for all. `None`: there is none, or another
    /// collector is at the rollups. Nobody reads its blocks before all are there, and until then nothing in it is
    /// corrected.
    async fn pack_hosts(&self) -> Result<Option<bool>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let alone = Job::Rolling.alone(&mut tx).await?;
        let marks = Marks::read(&mut *tx).await?;
        let (true, Some(hour)) = (alone, marks.to_pack()) else {
            // Not left to the drop, which ends it later: correcting, which comes next, is the same job.
            tx.rollback().await?;
            return Ok(None);
        };
        MINUTE_BLOCKS.make(&mut tx, hour, hour).await?;
        let after = marks.packed_host;
        let last = last_of_next(&mut tx, after, HOSTS_AT_ONCE).await?;
        let rows = "store.rollup_minute WHERE bucket >= $1 AND bucket < $2 AND host_id > $3 AND host_id <= $4";
        bounded(insert(rows), hour, hour + HOUR).bind(after).bind(last).execute(&mut *tx).await?;
        let whole = last == i64::MAX;
        let (packed, host) = if whole { (hour + HOUR, i64::MIN) } else { (hour, last) };
        sqlx::query!(
            "UPDATE store.tier_mark SET minutes_packed = $1, packed_host = $2",
            time::to_sql(packed) as _,
            host
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(whole))
    }
}

impl Marks {
    /// The next hour whose minutes are to be packed, or are being packed.
    pub(super) fn to_pack(self) -> Option<Timestamp<Utc>> {
        let due = self.minutes_packed + HOUR + OPEN <= self.hours_until;
        (due && !self.are_unset()).then_some(self.minutes_packed)
    }
}

/// Puts the minutes of an hour, as FROM has them, into blocks.
pub(super) fn insert(minutes: &str) -> String {
    INSERT.replace("{minutes}", minutes)
}
