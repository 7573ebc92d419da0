//! Daily partitions of the samples: made ahead, dropped when old.
//!
//! A row outside every partition would fail its whole batch, so partitions reach further back than the
//! oldest sample that ingest accepts and further ahead than housekeeping can be late. Where one is
//! missing all the same (the database was away for days, the clock was set), the writer makes it.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgConnection};
use timebase::{Span, Timestamp, Utc};

use crate::{Store, time};

/// A delivered sample is dated back at most so far.
pub const OLDEST_SAMPLE: Span = Span::from_secs(7 * 86_400);
/// One more than [`OLDEST_SAMPLE`], for the part of a day.
const DAYS_BACK: i64 = 8;
const DAYS_AHEAD: i64 = 2;
/// Serialises collectors that share a database. An arbitrary number of our own.
const LOCK: i64 = 0x7472_7565_6368_696d;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Partitions made.
    pub made: usize,
    /// Partitions dropped.
    pub dropped: usize,
}

impl Store {
    /// Makes the partitions around `now` and drops samples and events older than `keep`. Partitions that
    /// a long query holds are left for the next round.
    ///
    /// # Errors
    /// The database does not answer or refuses.
    pub async fn maintain_partitions(
        &self,
        now: Timestamp<Utc>,
        keep: Span,
    ) -> Result<Maintained, sqlx::Error> {
        let made = self.make_partitions(now).await?;
        let oldest = now - keep.max(OLDEST_SAMPLE + Span::from_secs(86_400));
        let dropped = self.drop_partitions(day_of(oldest)).await?;
        sqlx::query!("DELETE FROM store.event WHERE ref_time < $1", time::to_sql(oldest) as _)
            .execute(&self.pool)
            .await?;
        Ok(Maintained { made, dropped })
    }

    /// Makes those partitions around `now` that do not exist; how many.
    ///
    /// # Errors
    /// The database does not answer or refuses.
    pub async fn make_partitions(&self, now: Timestamp<Utc>) -> Result<usize, sqlx::Error> {
        let today = day_of(now);
        let mut tx = self.pool.begin().await?;
        sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(&mut *tx).await?;
        let there = partitions(&mut tx).await?;
        let mut made = 0;
        for day in (-DAYS_BACK..=DAYS_AHEAD).map(|n| today.saturating_add(n.days())) {
            if there.contains(&day) {
                continue;
            }
            make(&mut tx, day).await?;
            made += 1;
        }
        tx.commit().await?;
        Ok(made)
    }

    async fn drop_partitions(&self, oldest: Date) -> Result<usize, sqlx::Error> {
        let mut dropped = 0;
        for day in partitions(&mut *self.pool.acquire().await?).await? {
            if day >= oldest {
                continue;
            }
            let mut tx = self.pool.begin().await?;
            sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(&mut *tx).await?;
            // Dropping waits for readers, and ingest waits behind it: not for long.
            sqlx::query!("SET LOCAL lock_timeout = '2s'").execute(&mut *tx).await?;
            let sql = format!("DROP TABLE IF EXISTS store.{}", name(day));
            match sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await {
                Ok(_) => {
                    tx.commit().await?;
                    dropped += 1;
                }
                Err(error) if is_lock_timeout(&error) => {
                    tracing::warn!(%day, "samples of this day are being read; dropping them later");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }
}

/// Whether a row was refused because its day has no partition. Postgres calls that a broken check
/// (23514), of no constraint in particular.
pub fn missing(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused.is_some_and(|e| e.code().is_some_and(|c| c == "23514") && e.constraint().is_none())
}

/// `CREATE TABLE .. PARTITION OF` would wait for every reader of the parent; making the table first and
/// attaching it does not.
async fn make(connection: &mut PgConnection, day: Date) -> Result<(), sqlx::Error> {
    let (name, next) = (name(day), day.saturating_add(1.day()));
    let create = format!("CREATE TABLE store.{name} (LIKE store.sample INCLUDING ALL)");
    sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await?;
    let attach = format!(
        "ALTER TABLE store.sample ATTACH PARTITION store.{name} \
         FOR VALUES FROM ('{day} 00:00:00+00') TO ('{next} 00:00:00+00')"
    );
    sqlx::query(AssertSqlSafe(attach)).execute(&mut *connection).await?;
    Ok(())
}

async fn partitions(connection: &mut PgConnection) -> Result<Vec<Date>, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'store.sample'::regclass ORDER BY 1"#
    )
    .fetch_all(connection)
    .await?;
    Ok(names.iter().filter_map(|name| day_of_name(name)).collect())
}

fn name(day: Date) -> String {
    format!("sample_{}", day.strftime("%Y%m%d"))
}

fn day_of_name(name: &str) -> Option<Date> {
    Date::strptime("%Y%m%d", name.strip_prefix("sample_")?).ok()
}

fn day_of(at: Timestamp<Utc>) -> Date {
    time::to_jiff(at).to_zoned(TimeZone::UTC).date()
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "55P03")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a partition's name is read back as its day, and that other tables are not days.
    #[test]
    fn names_are_days() {
        let day = day_of(Timestamp::from_ns(1_795_305_599_999_999_999));
        assert_eq!(name(day), "sample_20261121");
        assert_eq!(day_of_name(&name(day)), Some(day));
        assert_eq!(day_of_name("sample_default"), None);
    }
}
