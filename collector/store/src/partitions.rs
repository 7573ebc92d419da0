//! Partitions by time: made ahead, dropped when old. Samples and minutes by the hour, blocks of either by the day,
//! hours by the month.
//!
//! A row outside every partition would fail its whole batch, so partitions of samples reach back to the
//! oldest hour that is not sealed (what is older goes to `store.sample_late`) and further ahead than
//! housekeeping can be late. Where one is missing all the same (the database was away for days, the clock
//! was set), the writer makes it.

use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sqlx::{AssertSqlSafe, PgConnection};
use timebase::{Span, Timestamp, Utc};

use crate::locks::{Job, is_lock_timeout};
use crate::tiers::{HOUR, Keep, Marks, floor};
use crate::{Store, time};

/// A delivered sample is dated back at most so far.
pub const OLDEST_SAMPLE: Span = Span::from_secs(7 * 86_400);
const DAY: Span = Span::from_secs(86_400);
/// No query that we cannot see reads for longer.
const UNSEEN_READERS: Span = Span::from_secs(1_800);

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Partitions made.
    pub made: usize,
    /// Partitions dropped.
    pub dropped: usize,
}

/// How much time one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Month,
}

/// A partitioned table of schema `store`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partitioned {
    table: &'static str,
    unit: Unit,
    /// Of each partition.
    storage: &'static str,
}

/// Filled within an hour and dropped some hours later: there is no use in marking its pages as visible to all, over
/// and over as it grows, and little in drawing a sample of its rows for the planner each time it has grown by a tenth.
const SHORT_LIVED: &str =
    "WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 1)";
pub(crate) const RAW: Partitioned =
    Partitioned { table: "sample", unit: Unit::Hour, storage: SHORT_LIVED };
pub(crate) const BLOCKS: Partitioned =
    Partitioned { table: "sample_block", unit: Unit::Day, storage: "" };
pub(crate) const MINUTES: Partitioned =
    Partitioned { table: "rollup_minute", unit: Unit::Hour, storage: SHORT_LIVED };
pub(crate) const MINUTE_BLOCKS: Partitioned =
    Partitioned { table: "minute_block", unit: Unit::Day, storage: "" };
pub(crate) const HOURS: Partitioned =
    Partitioned { table: "rollup_hour", unit: Unit::Month, storage: "" };

impl Store {
    /// Makes the partitions around `now` and drops what is older than `keep` says. Partitions that a long
    /// query holds are left for the next round.
    ///
    /// # Errors
    /// The database does not answer or refuses.
    pub async fn maintain_partitions(
        &self,
        now: Timestamp<Utc>,
        keep: &Keep,
    ) -> Result<Maintained, sqlx::Error> {
        let made = self.make_partitions(now).await?;
        let samples_from = now - keep.samples.max(OLDEST_SAMPLE + DAY);
        let minutes_from = now - keep.minutes.max(OLDEST_SAMPLE + DAY);
        sqlx::query!(
            "UPDATE store.tier_mark SET samples_from = date_bin('1 day', $1, 'epoch'),
                                        minutes_from = date_bin('1 day', $2, 'epoch')",
            time::to_sql(samples_from) as _,
            time::to_sql(minutes_from) as _
        )
        .execute(&self.pool)
        .await?;
        let mut dropped = self.drop_packed().await?;
        for (table, oldest) in
            [(BLOCKS, samples_from), (MINUTE_BLOCKS, minutes_from), (HOURS, now - keep.hours)]
        {
            dropped += self.drop_partitions(table, oldest).await?;
        }
        let events = now - keep.events;
        sqlx::query!("DELETE FROM store.event WHERE ref_time < $1", time::to_sql(events) as _)
            .execute(&self.pool)
            .await?;
        let minutes = time::to_sql(minutes_from);
        sqlx::query!("DELETE FROM store.fleet_minute WHERE bucket < $1", minutes as _)
            .execute(&self.pool)
            .await?;
        Ok(Maintained { made, dropped })
    }

    /// Makes those partitions around `now` that do not exist; how many. The first time, the tiers begin.
    ///
    /// # Errors
    /// The database does not answer or refuses.
    pub async fn make_partitions(&self, now: Timestamp<Utc>) -> Result<usize, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        Job::Partitions.wait(&mut tx).await?;
        let mut marks = Marks::read(&mut *tx).await?;
        if marks.are_unset() {
            let there = RAW.ranges(&mut tx).await?;
            let oldest = there.iter().map(|(_, range)| range.0).min();
            marks =
                Marks::begin(&mut tx, oldest.unwrap_or(floor(now - HOUR.times(2), HOUR))).await?;
        }
        let back = now - OLDEST_SAMPLE - DAY;
        let mut made = RAW.make(&mut tx, back.max(marks.sealed_until), now + DAY).await?;
        made += BLOCKS.make(&mut tx, back, now + DAY.times(2)).await?;
        made += MINUTES.make(&mut tx, back.max(marks.minutes_packed), now + HOUR).await?;
        made += MINUTE_BLOCKS.make(&mut tx, back, now + DAY.times(2)).await?;
        made += HOURS.make(&mut tx, back, now + DAY.times(2)).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Drops the rows of hours that are packed, unless a query goes on that began before (less than a day ago): for it
    /// the blocks are not there yet, and it may come to the rows last. How many partitions.
    ///
    /// # Errors
    /// The database does not answer or refuses.
    pub async fn drop_packed(&self) -> Result<usize, sqlx::Error> {
        let mut dropped = 0;
        // Twice: what is noted in the first turn may go in the second, if nobody reads.
        for _ in 0..2 {
            let noted = sqlx::query!(
                r#"SELECT packed_until AS "samples: jiff_sqlx::Timestamp",
                          minutes_packed AS "minutes: jiff_sqlx::Timestamp" FROM store.housekeeping
                   CROSS JOIN (SELECT rolsuper OR pg_has_role('pg_read_all_stats', 'USAGE') AS all_seen
                               FROM pg_roles WHERE rolname = current_user) r
                   WHERE noted_at < clock_timestamp()
                                    - make_interval(secs => CASE WHEN r.all_seen THEN $2 ELSE $1::float8 END)
                      OR r.all_seen
                         AND NOT EXISTS (SELECT FROM pg_stat_activity a
                                         WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                                           AND a.backend_type = 'client backend' AND a.backend_xmin IS NOT NULL
                                           AND a.xact_start <= noted_at)"#,
                UNSEEN_READERS.as_secs_f64(),
                DAY.as_secs_f64()
            );
            let Some(noted) = noted.fetch_optional(&self.pool).await? else { break };
            dropped += self.drop_partitions(RAW, time::from_sql(noted.samples)).await?;
            dropped += self.drop_partitions(MINUTES, time::from_sql(noted.minutes)).await?;
            // Two statements: Citus gives no moment to a row that it finds by a table of every node.
            let marks = Marks::read(&self.pool).await?;
            sqlx::query!(
                "UPDATE store.housekeeping SET packed_until = $1, minutes_packed = $2, noted_at = clock_timestamp()
                 WHERE packed_until < $1 OR minutes_packed < $2",
                time::to_sql(marks.closed_until) as _,
                time::to_sql(marks.minutes_packed) as _
            )
            .execute(&self.pool)
            .await?;
        }
        Ok(dropped)
    }

    async fn drop_partitions(
        &self,
        table: Partitioned,
        oldest: Timestamp<Utc>,
    ) -> Result<usize, sqlx::Error> {
        let mut dropped = 0;
        for (name, (_, end)) in table.ranges(&mut *self.pool.acquire().await?).await? {
            if end > oldest {
                continue;
            }
            let mut tx = self.pool.begin().await?;
            Job::Partitions.wait(&mut tx).await?;
            // Dropping waits for readers, and ingest waits behind it: not for long.
            sqlx::query!("SET LOCAL lock_timeout = '300ms'").execute(&mut *tx).await?;
            let sql = format!("DROP TABLE IF EXISTS store.{name}");
            match sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await {
                Ok(_) => {
                    tx.commit().await?;
                    dropped += 1;
                }
                Err(error) if is_lock_timeout(&error) => {
                    tracing::warn!(name, "this partition is being read; dropping it later");
                    // Its neighbours are read by the same query.
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }
}

impl Partitioned {
    /// Makes the partitions from the one that holds `from` to the one that holds `to`, where there is none.
    pub(crate) async fn make(
        self,
        connection: &mut PgConnection,
        from: Timestamp<Utc>,
        to: Timestamp<Utc>,
    ) -> Result<usize, sqlx::Error> {
        let there = self.ranges(connection).await?;
        let mut made = 0;
        let mut at = self.unit.floor(civil(from));
        while at <= civil(to) {
            let next = self.unit.next(at);
            let (start, end) = (instant(at), instant(next));
            // Days may be there from a release that had one partition a day.
            if !there.iter().any(|(_, range)| range.0 < end && start < range.1) {
                self.make_one(connection, at, next).await?;
                made += 1;
            }
            at = next;
        }
        Ok(made)
    }

    /// `CREATE TABLE .. PARTITION OF` would wait for every reader of the parent; making the table first
    /// and attaching it does not.
    async fn make_one(
        self,
        connection: &mut PgConnection,
        at: DateTime,
        next: DateTime,
    ) -> Result<(), sqlx::Error> {
        let (table, name, storage) = (self.table, self.name(at), self.storage);
        let create =
            format!("CREATE TABLE store.{name} (LIKE store.{table} INCLUDING ALL) {storage}");
        sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await?;
        let attach = format!(
            "ALTER TABLE store.{table} ATTACH PARTITION store.{name} FOR VALUES FROM ('{at}+00') TO ('{next}+00')"
        );
        sqlx::query(AssertSqlSafe(attach)).execute(&mut *connection).await?;
        Ok(())
    }

    /// Every partition with the time from its start to its end.
    pub(crate) async fn ranges(
        self,
        connection: &mut PgConnection,
    ) -> Result<Vec<(String, Range)>, sqlx::Error> {
        let names = sqlx::query_scalar!(
            r#"SELECT c.relname::text AS "name!" FROM pg_inherits i
               JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = ('store.' || $1)::regclass ORDER BY 1"#,
            self.table
        )
        .fetch_all(connection)
        .await?;
        let range = |name: String| self.range_of(&name).map(|range| (name, range));
        Ok(names.into_iter().filter_map(range).collect())
    }

    pub(crate) fn name(self, at: DateTime) -> String {
        let digits = match self.unit {
            Unit::Hour => "%Y%m%d%H",
            Unit::Day => "%Y%m%d",
            Unit::Month => "%Y%m",
        };
        format!("{}_{}", self.table, at.strftime(digits))
    }

    /// The name of the partition that holds `at`.
    pub(crate) fn name_at(self, at: Timestamp<Utc>) -> String {
        self.name(self.unit.floor(civil(at)))
    }

    fn range_of(self, name: &str) -> Option<Range> {
        let digits = name.strip_prefix(self.table)?.strip_prefix('_')?;
        let unit = match digits.len() {
            10 => Unit::Hour,
            8 => Unit::Day,
            6 => Unit::Month,
            _ => return None,
        };
        let number =
            |at: std::ops::Range<usize>| digits.get(at).map_or(Some(1), |d| d.parse().ok());
        let hour = if unit == Unit::Hour { number(8..10)? } else { 0 };
        let year = digits.get(0..4)?.parse().ok()?;
        let start = DateTime::new(year, number(4..6)?, number(6..8)?, hour, 0, 0, 0).ok()?;
        Some((instant(start), instant(unit.next(start))))
    }
}

pub(crate) type Range = (Timestamp<Utc>, Timestamp<Utc>);

impl Unit {
    fn floor(self, at: DateTime) -> DateTime {
        let date = at.date();
        match self {
            Self::Hour => date.at(at.hour(), 0, 0, 0),
            Self::Day => date.at(0, 0, 0, 0),
            Self::Month => date.first_of_month().at(0, 0, 0, 0),
        }
    }

    fn next(self, at: DateTime) -> DateTime {
        at.saturating_add(match self {
            Self::Hour => 1.hour(),
            Self::Day => 1.day(),
            Self::Month => 1.month(),
        })
    }
}

/// Whether a row was refused because its day has no partition. Postgres calls that a broken check
/// (23514), of no constraint in particular.
pub fn missing(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused.is_some_and(|e| e.code().is_some_and(|c| c == "23514") && e.constraint().is_none())
}

fn civil(at: Timestamp<Utc>) -> DateTime {
    time::to_jiff(at).to_zoned(TimeZone::UTC).datetime()
}

fn instant(at: DateTime) -> Timestamp<Utc> {
    let zoned = at.to_zoned(TimeZone::UTC).map_or(i128::MAX, |z| z.timestamp().as_nanosecond());
    Timestamp::from_ns(zoned.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a partition's name is read back as the time it holds, whatever its length, and that other
    /// tables are no partitions.
    #[test]
    fn names_are_times() {
        let at = Timestamp::from_ns(1_795_305_599_999_999_999);
        for (table, name, seconds) in [
            (RAW, "sample_2026112123", 3_600),
            (BLOCKS, "sample_block_20261121", 86_400),
            (HOURS, "rollup_hour_202611", 30 * 86_400),
        ] {
            assert_eq!(table.name_at(at), name);
            let (start, end) = table.range_of(name).unwrap();
            assert!(start <= at && at < end, "{name}");
            assert_eq!(end - start, Span::from_secs(seconds));
        }
        assert!(RAW.range_of("sample_20261121").is_some(), "a day, of an earlier release");
        assert_eq!(RAW.range_of("sample_default"), None);
        assert_eq!(RAW.range_of("sample_late"), None);
    }
}
