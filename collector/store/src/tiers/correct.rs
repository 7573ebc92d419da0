//! Rollups made again, for samples that came late: those of all hosts after an outage, and always those of hosts in
//! burst mode.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use timebase::{Timestamp, Utc};

use super::roll::{INSERT_HOURS, INSERT_MINUTES, MINUTES_OF, bounded};
use super::{HOUR, MINUTE, Marks, Progress, floor, pack};
use crate::locks::Job;
use crate::partitions::{HOURS, MINUTE_BLOCKS, MINUTES};
use crate::{Store, time};

/// Hosts whose hour is made again in one transaction.
const HOSTS_AT_ONCE: i64 = 1_000;
/// Transactions of one round: the rest waits until minutes that are over are rolled up.
const TURNS: u32 = 20;

/// Samples of hosts $3 since $4 and before $5, wherever they are.
const SAMPLES: &str = "(SELECT s.* \
    FROM unnest($3::int8[], $4::timestamptz[], $5::timestamptz[]) h (host_id, since, until) \
    CROSS JOIN LATERAL store.samples(h.host_id, h.since, h.until) s)";

/// Of each host, from and to: the minutes that lack samples.
type Late = BTreeMap<i64, (Timestamp<Utc>, Timestamp<Utc>)>;

impl Store {
    pub(super) async fn correct(&self, progress: &mut Progress) -> Result<(), sqlx::Error> {
        for _ in 0..TURNS {
            let Some(corrected) = self.correct_hour().await? else { return Ok(()) };
            progress.corrected += corrected;
        }
        progress.unfinished = true;
        Ok(())
    }

    /// Makes the oldest hour that lacks samples again, for some of the hosts; of how many. `None`: there is none, or
    /// another collector is at the rollups.
    async fn correct_hour(&self) -> Result<Option<u64>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        if !Job::Rolling.alone(&mut tx).await? {
            return Ok(None);
        }
        let marks = Marks::read(&mut *tx).await?;
        // Of hours whose samples were dropped meanwhile the rollups are all that is left.
        sqlx::query!(
            "DELETE FROM store.rollup_dirty WHERE hour < $1",
            time::to_sql(marks.samples_from) as _
        )
        .execute(&mut *tx)
        .await?;
        let packing = marks.to_pack().unwrap_or(Timestamp::from_ns(0));
        let hour = sqlx::query_scalar!(
            r#"SELECT min(hour) AS "hour: jiff_sqlx::Timestamp" FROM store.rollup_dirty
               WHERE hour < $1 AND hour <> $2"#,
            time::to_sql(marks.minutes_until) as _,
            time::to_sql(packing) as _
        )
        .fetch_one(&mut *tx)
        .await?;
        let Some(hour) = hour.map(time::from_sql) else {
            tx.commit().await?;
            return Ok(None);
        };
        let late = take(&mut tx, hour, marks.minutes_until.min(hour + HOUR)).await?;
        roll_again(&mut tx, marks, hour, &late).await?;
        tx.commit().await?;
        Ok(Some(late.len() as u64))
    }
}

/// Some hosts whose hour lacks samples, before `until`. A row of a writer that has not committed is not seen, and stays;
/// so does its sample's turn.
async fn take(
    connection: &mut PgConnection,
    hour: Timestamp<Utc>,
    until: Timestamp<Utc>,
) -> Result<Late, sqlx::Error> {
    let rows = sqlx::query!(
        r#"DELETE FROM store.rollup_dirty WHERE hour = $1 AND host_id IN
               (SELECT DISTINCT host_id FROM store.rollup_dirty WHERE hour = $1 ORDER BY host_id LIMIT $2)
           RETURNING host_id, first_at AS "first: jiff_sqlx::Timestamp", last_at AS "last: jiff_sqlx::Timestamp""#,
        time::to_sql(hour) as _,
        HOSTS_AT_ONCE
    )
    .fetch_all(connection)
    .await?;
    let mut late = Late::new();
    for row in rows {
        let first = row.first.map_or(hour, time::from_sql);
        let last = row.last.map_or(hour + HOUR, time::from_sql);
        let (from, to) = late.entry(row.host_id).or_insert((until, hour));
        *from = floor(first, MINUTE).min(*from);
        *to = (floor(last, MINUTE) + MINUTE).max(*to).min(until);
    }
    Ok(late)
}

/// The rollups of some hosts: of minutes of an hour, or of all if they are packed, and of the hour.
async fn roll_again(
    connection: &mut PgConnection,
    marks: Marks,
    hour: Timestamp<Utc>,
    late: &Late,
) -> Result<(), sqlx::Error> {
    let hosts: Vec<i64> = late.keys().copied().collect();
    let minutes = MINUTES_OF.replace("{samples}", SAMPLES);
    let (start, end) = (time::to_sql(hour), time::to_sql(hour + HOUR));
    let (insert, since, until);
    if hour < marks.minutes_packed {
        MINUTE_BLOCKS.make(connection, hour, hour).await?;
        sqlx::query!(
            "DELETE FROM store.minute_block WHERE host_id = ANY ($1) AND hour = $2",
            &hosts,
            start as _
        )
        .execute(&mut *connection)
        .await?;
        insert = pack::insert(&format!("({minutes}) m"));
        (since, until) = (vec![start; hosts.len()], vec![end; hosts.len()]);
    } else {
        MINUTES.make(connection, hour, hour).await?;
        (since, until) =
            late.values().map(|(from, to)| (time::to_sql(*from), time::to_sql(*to))).unzip();
        sqlx::query!(
            "DELETE FROM store.rollup_minute r
             USING unnest($1::int8[], $2::timestamptz[], $3::timestamptz[]) h (host_id, since, until)
             WHERE r.host_id = h.host_id AND r.bucket >= h.since AND r.bucket < h.until
               AND r.bucket >= $4 AND r.bucket < $5",
            &hosts,
            &since as _,
            &until as _,
            start as _,
            end as _
        )
        .execute(&mut *connection)
        .await?;
        insert = format!("{INSERT_MINUTES}{minutes}");
    }
    let insert = bounded(insert, hour, hour + HOUR).bind(hosts.clone()).bind(since).bind(until);
    insert.execute(&mut *connection).await?;
    if hour < marks.hours_until {
        HOURS.make(connection, hour, hour).await?;
        sqlx::query!(
            "DELETE FROM store.rollup_hour WHERE host_id = ANY ($1) AND bucket = $2",
            &hosts,
            start as _
        )
        .execute(&mut *connection)
        .await?;
        let insert = INSERT_HOURS
            .replace("{minutes}", "store.minutes")
            .replace("{only}", "AND r.hour = $1 AND r.host_id = ANY ($3)");
        bounded(insert, hour, hour + HOUR).bind(hosts).execute(connection).await?;
    }
    Ok(())
}
