//! Rollups of a minute and of an hour, and the fleet in each minute.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use timebase::{Span, Timestamp, Utc};

use super::{HOUR, MINUTE, Marks, Progress, floor};
use crate::locks::Job;
use crate::partitions::{HOURS, MINUTES, RAW};
use crate::{Store, time};

/// A minute is rolled up so long after its end: agents report several samples at once.
const SLACK: Span = Span::from_secs(120);

pub(super) const INSERT_MINUTES: &str = "
INSERT INTO store.rollup_minute (host_id, bucket, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns,
    offset_max_ns, boot_no, steps, samples, without_window, first_ms, last_ms, gap_ms, epochs,
    worst_state, sources_min) ";

/// $1 and $2: from and to, whole minutes.
pub(super) const MINUTES_OF: &str = "
SELECT host_id, bucket, min(lo_ns) AS lo_ns, max(hi_ns) AS hi_ns, max(store.width(lo_ns, hi_ns)) AS widest_ns,
    max(offset_ns) FILTER (WHERE newest) AS offset_ns, min(offset_ns) AS offset_min_ns, max(offset_ns) AS offset_max_ns,
    max(boot_no) FILTER (WHERE newest) AS boot_no, max(steps) FILTER (WHERE newest) AS steps,
    count(*)::int4 AS samples, (count(*) FILTER (WHERE lo_ns IS NULL))::int4 AS without_window, min(ms) AS first_ms,
    max(ms) AS last_ms, coalesce(max(ms - previous), 0) AS gap_ms,
    (1 + count(*) FILTER (WHERE other_epoch))::int4 AS epochs,
    store.state_of_badness(max(store.badness(state))) AS worst_state, min(sources_used) AS sources_min
FROM (
    SELECT b.*, lead(seq) OVER w IS NULL AS newest, lag(ms) OVER w AS previous,
        (boot_no, steps) IS DISTINCT FROM (lag(boot_no) OVER w, lag(steps) OVER w)
            AND lag(boot_no) OVER w IS NOT NULL AS other_epoch
    FROM (
        SELECT s.*, date_bin('1 minute', s.ref_time, 'epoch') AS bucket,
            (extract(epoch FROM s.ref_time - date_bin('1 minute', s.ref_time, 'epoch')) * 1000)::int4 AS ms
        FROM {samples} s WHERE s.ref_time >= $1 AND s.ref_time < $2
    ) b
    WINDOW w AS (PARTITION BY host_id, bucket ORDER BY ref_time, boot_no, seq)
) b
GROUP BY host_id, bucket";

/// $1 and $2: from and to, whole hours.
pub(super) const INSERT_HOURS: &str = "
INSERT INTO store.rollup_hour (host_id, bucket, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns,
    offset_max_ns, boot_no, steps, samples, without_window, first_ms, last_ms, gap_ms, epochs,
    worst_state, sources_min)
SELECT host_id, of_hour, min(lo_ns), max(hi_ns), max(widest_ns),
    max(offset_ns) FILTER (WHERE newest), min(offset_min_ns), max(offset_max_ns),
    max(boot_no) FILTER (WHERE newest), max(steps) FILTER (WHERE newest),
    sum(samples), sum(without_window), min(start + first_ms), max(start + last_ms),
    max(greatest(gap_ms, start + first_ms - previous)),
    1 + sum(epochs - 1) + count(*) FILTER (WHERE other_epoch),
    store.state_of_badness(max(store.badness(worst_state))), min(sources_min)
FROM (
    SELECT m.*, lead(start) OVER w IS NULL AS newest, lag(start + last_ms) OVER w AS previous,
        (boot_no, steps) IS DISTINCT FROM (lag(boot_no) OVER w, lag(steps) OVER w)
            AND lag(boot_no) OVER w IS NOT NULL AS other_epoch
    FROM (
        SELECT r.*, date_bin('1 hour', r.bucket, 'epoch') AS of_hour,
            (extract(epoch FROM r.bucket - date_bin('1 hour', r.bucket, 'epoch')) * 1000)::int4 AS start
        FROM {minutes} r WHERE r.bucket >= $1 AND r.bucket < $2 {only}
    ) m
    WINDOW w AS (PARTITION BY host_id, of_hour ORDER BY bucket)
) m
GROUP BY host_id, of_hour";

impl Store {
    pub(super) async fn roll(
        &self,
        now: Timestamp<Utc>,
        most_hours: u64,
        progress: &mut Progress,
    ) -> Result<(), sqlx::Error> {
        let target = floor(now - SLACK, MINUTE);
        // A step ends with its hour: so many steps are at least so many hours less one.
        for _ in 0..=most_hours {
            let Some(to) = self.seal_minutes(target).await? else { break };
            let Some(minutes) = self.roll_minutes(to).await? else { break };
            progress.minutes += minutes;
        }
        Ok(())
    }

    /// Samples older than the end of the next step correct from here on; that end, if there is a step to do.
    async fn seal_minutes(
        &self,
        target: Timestamp<Utc>,
    ) -> Result<Option<Timestamp<Utc>>, sqlx::Error> {
        let marks = self.marks().await?;
        let to = target.min(floor(marks.minutes_until, HOUR) + HOUR);
        if marks.are_unset() || to <= marks.minutes_until {
            return Ok(None);
        }
        // Writers that have read the mark are waited for; they take milliseconds.
        let Some(mut tx) = self.without_writers().await? else { return Ok(None) };
        sqlx::query!(
            "UPDATE store.tier_mark SET minutes_sealed = greatest(minutes_sealed, $1)",
            time::to_sql(to) as _
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(to))
    }

    /// Rolls up to `to`; how many minutes. `None`: another collector does it.
    async fn roll_minutes(&self, to: Timestamp<Utc>) -> Result<Option<u64>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        if !Job::Rolling.alone(&mut tx).await? {
            return Ok(None);
        }
        let marks = Marks::read(&mut *tx).await?;
        let from = marks.minutes_until;
        if from >= to {
            // Not left to the drop, which ends it later: packing, which comes next, is the same job.
            tx.rollback().await?;
            return Ok(Some(0));
        }
        MINUTES.make(&mut tx, from, to).await?;
        HOURS.make(&mut tx, from, to).await?;
        summarise(&mut tx, &RAW.name_at(from)).await?;
        let minutes = MINUTES_OF.replace("{samples}", "store.sample");
        let insert = format!("{INSERT_MINUTES}{minutes}");
        bounded(insert, from, to).execute(&mut *tx).await?;
        summarise(&mut tx, &MINUTES.name_at(from)).await?;
        fleet(&mut tx, from, to).await?;
        let hours = floor(to, HOUR);
        if hours > marks.hours_until {
            let insert = INSERT_HOURS.replace("{minutes}", "store.rollup_minute");
            let insert = insert.replace("{only}", "");
            bounded(insert, marks.hours_until, hours).execute(&mut *tx).await?;
        }
        sqlx::query!(
            "UPDATE store.tier_mark SET minutes_until = $1, hours_until = greatest(hours_until, $2)",
            time::to_sql(to) as _,
            time::to_sql(hours) as _
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(((to - from).as_ns() / MINUTE.as_ns()).unsigned_abs()))
    }
}

/// $1 and $2.
pub(super) fn bounded(
    sql: String,
    from: Timestamp<Utc>,
    to: Timestamp<Utc>,
) -> Query<'static, Postgres, PgArguments> {
    // The plan depends on how much there is to do.
    sqlx::query(AssertSqlSafe(sql))
        .bind(time::to_sql(from))
        .bind(time::to_sql(to))
        .persistent(false)
}

/// The index by time covers only what was summarised; the rest would be read in full.
async fn summarise(connection: &mut PgConnection, partition: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT brin_summarize_new_values(i.indexrelid::regclass)
         FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
         WHERE i.indrelid = to_regclass('store.' || $1) AND a.amname = 'brin'",
        partition
    )
    .fetch_all(connection)
    .await
    .map(drop)
}

async fn fleet(
    connection: &mut PgConnection,
    from: Timestamp<Utc>,
    to: Timestamp<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO store.fleet_minute (bucket, hosts, with_window, offset_ns, width_ns, states, extreme_hosts)
         SELECT bucket, count(*), count(widest_ns),
             percentile_disc(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY store.magnitude(offset_min_ns, offset_max_ns)),
             percentile_disc(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY widest_ns),
             ARRAY[count(*) FILTER (WHERE worst_state = 1), count(*) FILTER (WHERE worst_state = 2),
                   count(*) FILTER (WHERE worst_state = 3), count(*) FILTER (WHERE worst_state = 4),
                   count(*) FILTER (WHERE worst_state = 5)],
             coalesce(array_agg(host_id ORDER BY place) FILTER (WHERE place <= 5 AND widest_ns IS NOT NULL), '{}')
         FROM (SELECT r.*, row_number() OVER (
                   PARTITION BY bucket
                   ORDER BY store.magnitude(lo_ns, hi_ns) DESC NULLS LAST, host_id) AS place
               FROM store.rollup_minute r WHERE bucket >= $1 AND bucket < $2) r
         GROUP BY bucket
         ON CONFLICT (bucket) DO NOTHING",
        time::to_sql(from) as _,
        time::to_sql(to) as _
    )
    .execute(connection)
    .await
    .map(drop)
}
