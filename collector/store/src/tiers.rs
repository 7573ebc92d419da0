//! The tiers of the store: raw samples, repacked hours, rollups; how far each reaches and how long it is kept.
//!
//! Time flows through marks in one row, `store.tier_mark`. `sealed_until` and `minutes_sealed` move while no
//! writer is between reading them and its commit; from then on no row that is older comes into the raw
//! table, or it is noted that a rollup lacks it. What is sealed is worked on at leisure, in a transaction
//! that moves `closed_until`, `minutes_until` or `hours_until` as well: killed at any instant, it begins again from there.
//! Minutes are packed in several, which move `packed_host`, and seen once the last has moved `minutes_packed`.

mod correct;
mod gather;
mod pack;
mod repack;
mod roll;
mod storage;

use sqlx::{PgConnection, PgExecutor};
use timebase::{Span, Timestamp, Utc};

pub use storage::{StorageReport, TierSize};

use crate::{Store, locks, time};

pub(crate) const HOUR: Span = Span::from_secs(3_600);
const MINUTE: Span = Span::from_secs(60);
/// One round a minute leaves rollups and repacking a few minutes behind. By more, nobody did them.
const BEHIND: Span = Span::from_secs(600);

/// How long each tier is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Age at which an hour of samples is repacked.
    pub raw: Span,
    /// Age at which samples are dropped.
    pub samples: Span,
    /// Age at which rollups of a minute are dropped.
    pub minutes: Span,
    /// Age at which rollups of an hour are dropped.
    pub hours: Span,
    /// Age at which events are dropped.
    pub events: Span,
}

/// What one round of [`Store::maintain_tiers`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Minutes rolled up for the whole fleet.
    pub minutes: u64,
    /// Hours of hosts whose rollups were made again, for samples that came late.
    pub corrected: u64,
    /// There is more to pack or to correct than one round should do.
    pub unfinished: bool,
    /// Hours whose minutes were packed.
    pub packed: u64,
    /// Hours repacked.
    pub hours: u64,
    /// Samples repacked.
    pub samples: u64,
    /// Late samples repacked.
    pub late: u64,
    /// Days whose rollups of an hour were gathered by host.
    pub days: u64,
}

/// How far each tier reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) sealed_until: Timestamp<Utc>,
    pub(crate) closed_until: Timestamp<Utc>,
    pub(crate) minutes_sealed: Timestamp<Utc>,
    pub(crate) minutes_until: Timestamp<Utc>,
    pub(crate) minutes_packed: Timestamp<Utc>,
    pub(crate) packed_host: i64,
    pub(crate) hours_until: Timestamp<Utc>,
    pub(crate) hours_gathered: Timestamp<Utc>,
    pub(crate) samples_from: Timestamp<Utc>,
}

/// The latest multiple of `length` since 1970.
pub(crate) fn floor(at: Timestamp<Utc>, length: Span) -> Timestamp<Utc> {
    Timestamp::from_ns(at.as_ns() - at.as_ns().rem_euclid(length.as_ns()))
}

impl Marks {
    pub(crate) async fn read(executor: impl PgExecutor<'_>) -> Result<Self, sqlx::Error> {
        let row = sqlx::query!(
            r#"SELECT sealed_until AS "sealed: jiff_sqlx::Timestamp",
                      closed_until AS "closed: jiff_sqlx::Timestamp",
                      minutes_sealed AS "minutes_sealed: jiff_sqlx::Timestamp",
                      minutes_until AS "minutes: jiff_sqlx::Timestamp",
                      minutes_packed AS "packed: jiff_sqlx::Timestamp", packed_host,
                      hours_until AS "hours: jiff_sqlx::Timestamp",
                      hours_gathered AS "gathered: jiff_sqlx::Timestamp",
                      samples_from AS "from: jiff_sqlx::Timestamp" FROM store.tier_mark"#
        )
        .fetch_one(executor)
        .await?;
        Ok(Self {
            sealed_until: time::from_sql(row.sealed),
            closed_until: time::from_sql(row.closed),
            minutes_sealed: time::from_sql(row.minutes_sealed),
            minutes_until: time::from_sql(row.minutes),
            minutes_packed: time::from_sql(row.packed),
            packed_host: row.packed_host,
            hours_until: time::from_sql(row.hours),
            hours_gathered: time::from_sql(row.gathered),
            samples_from: time::from_sql(row.from),
        })
    }

    /// As [`Marks::read`]; they hold until the transaction ends.
    pub(crate) async fn for_writing(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query!(
            r#"SELECT sealed_until AS "sealed!: jiff_sqlx::Timestamp",
                      closed_until AS "closed!: jiff_sqlx::Timestamp",
                      minutes_sealed AS "minutes_sealed!: jiff_sqlx::Timestamp",
                      minutes_until AS "minutes!: jiff_sqlx::Timestamp",
                      minutes_packed AS "packed!: jiff_sqlx::Timestamp", packed_host AS "packed_host!",
                      hours_until AS "hours!: jiff_sqlx::Timestamp",
                      hours_gathered AS "gathered!: jiff_sqlx::Timestamp",
                      samples_from AS "from!: jiff_sqlx::Timestamp" FROM store.marks_for_writing()"#
        )
        .fetch_one(connection)
        .await?;
        Ok(Self {
            sealed_until: time::from_sql(row.sealed),
            closed_until: time::from_sql(row.closed),
            minutes_sealed: time::from_sql(row.minutes_sealed),
            minutes_until: time::from_sql(row.minutes),
            minutes_packed: time::from_sql(row.packed),
            packed_host: row.packed_host,
            hours_until: time::from_sql(row.hours),
            hours_gathered: time::from_sql(row.gathered),
            samples_from: time::from_sql(row.from),
        })
    }

    /// Whether nothing was ever sealed.
    pub(crate) fn are_unset(self) -> bool {
        self.sealed_until.as_ns() == 0
    }

    /// The first marks of a database.
    pub(crate) async fn begin(
        connection: &mut PgConnection,
        at: Timestamp<Utc>,
    ) -> Result<Self, sqlx::Error> {
        let at = time::to_sql(at);
        locks::exclude_writers(&mut *connection).await?;
        sqlx::query!(
            "UPDATE store.tier_mark SET sealed_until = $1, closed_until = $1, minutes_sealed = $1,
                                        minutes_until = $1, minutes_packed = $1, hours_until = $1",
            at as _
        )
        .execute(&mut *connection)
        .await?;
        Self::read(connection).await
    }
}

/// The last of the `most` hosts that follow `after`, or the greatest number there is: of work on some at a time.
async fn last_of_next(
    connection: &mut PgConnection,
    after: i64,
    most: i64,
) -> Result<i64, sqlx::Error> {
    let last = sqlx::query_scalar!(
        "SELECT host_id FROM store.host WHERE host_id > $1 ORDER BY host_id OFFSET $2 LIMIT 1",
        after,
        most - 1
    );
    Ok(last.fetch_optional(connection).await?.unwrap_or(i64::MAX))
}

impl Store {
    pub(crate) async fn marks(&self) -> Result<Marks, sqlx::Error> {
        Marks::read(&self.pool).await
    }

    /// Whether work has piled up, for no collector ran.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn tiers_are_behind(
        &self,
        now: Timestamp<Utc>,
        keep: &Keep,
    ) -> Result<bool, sqlx::Error> {
        let marks = self.marks().await?;
        let due = now - BEHIND;
        let behind = marks.minutes_until < due || marks.closed_until + HOUR < due - keep.raw;
        Ok(behind && !marks.are_unset())
    }

    /// One round: rolls up the minutes that are over, packs those of hours that are, corrects what came late, gathers the
    /// hours of days that are over, repacks the hours that are old enough. Returns when all is done that was to do, or
    /// `most_hours` hours (and days) are, or what minutes to come should wait for ([`Progress::unfinished`]).
    ///
    /// # Errors
    /// The database does not answer or refuses; what was finished stays.
    pub async fn maintain_tiers(
        &self,
        now: Timestamp<Utc>,
        keep: &Keep,
        most_hours: u64,
    ) -> Result<Progress, sqlx::Error> {
        let mut progress = Progress::default();
        self.roll(now, most_hours, &mut progress).await?;
        self.pack(&mut progress).await?;
        self.correct(&mut progress).await?;
        self.gather(most_hours, &mut progress).await?;
        self.repack(now, keep.raw, most_hours, &mut progress).await?;
        Ok(progress)
    }

    /// Writes down how long each tier is kept, for `fleet.storage`.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn note_retention(&self, keep: &Keep) -> Result<(), sqlx::Error> {
        let tiers = [
            ("raw", "sample", keep.raw),
            ("late", "sample_late", HOUR),
            ("samples", "sample_block", keep.samples),
            ("minutes", "minute_block", keep.minutes),
            ("hours", "rollup_hour", keep.hours),
            ("events", "event", keep.events),
        ];
        for (tier, parent, keep) in tiers {
            sqlx::query!(
                "INSERT INTO store.tier (tier, parent, keep) VALUES ($1, $2, make_interval(secs => $3))
                 ON CONFLICT (tier) DO UPDATE SET parent = EXCLUDED.parent, keep = EXCLUDED.keep",
                tier,
                parent,
                keep.as_secs_f64()
            )
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }
}
