//! Rollups made again, for samples that came late: those of all hosts after an outage, and always those of hosts in
//! burst mode.

use sqlx::PgConnection;
use timebase::{Timestamp, Utc};

use super::roll::{INSERT_HOURS, INSERT_MINUTES, MINUTES_OF, bounded};
use super::{HOUR, MINUTE, Marks, Progress, floor, pack};
use crate::locks::Job;
use crate::partitions::{HOURS, MINUTE_BLOCKS, MINUTES};
use crate::{Store, time};

/// Hosts whose hour is made again in one transaction.
const HOSTS_AT_ONCE: i64 = 1_000;
/// Hours of hosts in one round: the rest waits until minutes that are over are rolled up.
const A_ROUND: u64 = 20_000;

/// Samples of hosts $3, wherever they are.
const SAMPLES: &str = "(SELECT s.* FROM unnest($3::int8[]) h (host_id) \
                       CROSS JOIN LATERAL store.samples(h.host_id, $1, $2) s)";

impl Store {
    pub(super) async fn correct(&self, progress: &mut Progress) -> Result<(), sqlx::Error> {
        while let Some(corrected) = self.correct_hour().await? {
            progress.corrected += corrected;
            progress.unfinished = progress.corrected >= A_ROUND;
            if progress.unfinished {
                break;
            }
        }
        Ok(())
    }

    /// Makes the oldest hour that lacks samples again, for some of the hosts; of how many. `None`: there is none, or
    /// another collector is at the rollups.
    async fn correct_hour(&self) -> Result<Option<u64>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let alone = Job::Rolling.alone(&mut tx).await?;
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
        let (true, Some(hour)) = (alone, hour.map(time::from_sql)) else {
            // Not left to the drop, which ends it later: gathering, which comes next, is the same job.
            tx.rollback().await?;
            return Ok(None);
        };
        // A row of a writer that has not committed is not seen, and stays; so does its sample's turn.
        let rows = sqlx::query!(
            r#"DELETE FROM store.rollup_dirty WHERE hour = $1 AND host_id IN
                   (SELECT DISTINCT host_id FROM store.rollup_dirty WHERE hour = $1 ORDER BY host_id LIMIT $2)
               RETURNING host_id, first_at AS "first: jiff_sqlx::Timestamp", last_at AS "last: jiff_sqlx::Timestamp""#,
            time::to_sql(hour) as _,
            HOSTS_AT_ONCE
        )
        .fetch_all(&mut *tx)
        .await?;
        let (mut from, mut to) = (hour + HOUR, hour);
        for row in &rows {
            from = from.min(row.first.map_or(hour, time::from_sql));
            to = to.max(row.last.map_or(hour + HOUR, time::from_sql));
        }
        let to = marks.minutes_until.min(hour + HOUR).min(floor(to, MINUTE) + MINUTE);
        let mut hosts: Vec<i64> = rows.into_iter().map(|row| row.host_id).collect();
        hosts.sort_unstable();
        hosts.dedup();
        roll_again(&mut tx, marks, &hosts, hour, (floor(from, MINUTE), to)).await?;
        tx.commit().await?;
        Ok(Some(hosts.len() as u64))
    }
}

/// The rollups of some hosts: of minutes of an hour, or of all if they are packed, and of the hour.
async fn roll_again(
    connection: &mut PgConnection,
    marks: Marks,
    hosts: &[i64],
    hour: Timestamp<Utc>,
    (mut from, mut to): (Timestamp<Utc>, Timestamp<Utc>),
) -> Result<(), sqlx::Error> {
    let minutes = MINUTES_OF.replace("{samples}", SAMPLES);
    let insert = if hour < marks.minutes_packed {
        (from, to) = (hour, hour + HOUR);
        MINUTE_BLOCKS.make(connection, hour, hour).await?;
        sqlx::query!(
            "DELETE FROM store.minute_block WHERE host_id = ANY ($1) AND hour = $2",
            hosts,
            time::to_sql(hour) as _
        )
        .execute(&mut *connection)
        .await?;
        pack::insert(&format!("({minutes}) m"))
    } else {
        MINUTES.make(connection, hour, hour).await?;
        sqlx::query!(
            "DELETE FROM store.rollup_minute WHERE host_id = ANY ($1) AND bucket >= $2 AND bucket < $3",
            hosts,
            time::to_sql(from) as _,
            time::to_sql(to) as _
        )
        .execute(&mut *connection)
        .await?;
        format!("{INSERT_MINUTES}{minutes}")
    };
    bounded(insert, from, to).bind(hosts.to_vec()).execute(&mut *connection).await?;
    if hour < marks.hours_until {
        HOURS.make(connection, hour, hour).await?;
        sqlx::query!(
            "DELETE FROM store.rollup_hour WHERE host_id = ANY ($1) AND bucket = $2",
            hosts,
            time::to_sql(hour) as _
        )
        .execute(&mut *connection)
        .await?;
        let insert = INSERT_HOURS
            .replace("{minutes}", "store.minutes")
            .replace("{only}", "AND r.hour = $1 AND r.host_id = ANY ($3)");
        bounded(insert, hour, hour + HOUR).bind(hosts.to_vec()).execute(connection).await?;
    }
    Ok(())
}
