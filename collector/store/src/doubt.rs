//! Whether a collector's clock can be right. It decides what is old: one that is ahead would drop history, and close
//! hours that are still to come. So before either it is compared with all that knows better.

use sqlx::PgExecutor;
use timebase::{Span, Timestamp, Utc};

use crate::{Store, time};

/// A clock that is wrong by less does no harm here.
const TOLERANCE: Span = Span::from_secs(60);
/// After a longer time in which no collector did this work, somebody must confirm that so much time has passed.
const LONGEST_GAP: Span = Span::from_secs(3 * 3_600);
/// Reports of so long ago testify.
const FRESH: Span = Span::from_secs(300);
/// So many of them are enough.
const WITNESSES: i64 = 1_000;

/// Why nothing is sealed or dropped at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Collector − database, when they differ by more than a minute: one of the two is wrong.
    Database(Span),
    /// Most hosts that know the time say that the collector's clock is wrong by more than a minute.
    Hosts {
        /// Collector − UTC, by one of them.
        error: Span,
        /// How many say so.
        hosts: i64,
    },
    /// So much time has passed, or the clock leapt ahead; hosts that know the time have not confirmed it yet.
    Unconfirmed(Span),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |error: Span| if error.is_negative() { "behind" } else { "ahead of" };
        match *self {
            Self::Database(error) => write!(
                f,
                "this collector's clock is {} {} the database server's: one of the two is wrong",
                error.abs(),
                side(error)
            ),
            Self::Hosts { error, hosts } => write!(
                f,
                "this collector's clock is {} {} UTC by the reports of {hosts} hosts that know the time",
                error.abs(),
                side(error)
            ),
            Self::Unconfirmed(gap) => write!(
                f,
                "this collector's clock shows {gap} since hours were last closed: true or not, no host that \
                 knows the time has told yet. If it is true, `truechimer db trust-clock` says so"
            ),
        }
    }
}

/// What hosts that know the time say of the collectors' clocks.
#[derive(Debug, Default)]
struct Testimony {
    right: i64,
    wrong: i64,
    error_s: Option<f64>,
}

impl Store {
    /// Why hours are not to be closed nor anything dropped by this clock; `None`: it is good enough, and how late it is
    /// is noted. `clock` is read before and after the database's.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn doubt(
        &self,
        clock: impl Fn() -> Timestamp<Utc>,
    ) -> Result<Option<Doubt>, sqlx::Error> {
        let now = clock();
        if let Some(doubt) = self.against_database(now, &clock).await? {
            return Ok(Some(doubt));
        }
        let told = testimony(&self.pool, now).await?;
        if told.wrong > told.right {
            let error = Span::from_secs_f64(told.error_s.unwrap_or_default());
            return Ok(Some(Doubt::Hosts { error, hosts: told.wrong }));
        }
        if let Some(known) = self.time_known().await?
            && now - known > LONGEST_GAP
            && told.right <= told.wrong
        {
            return Ok(Some(Doubt::Unconfirmed(now - known)));
        }
        self.note_time(now).await?;
        Ok(None)
    }

    /// Takes the clock's word for how late it is, as an operator may.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn trust_clock(
        &self,
        clock: impl Fn() -> Timestamp<Utc>,
    ) -> Result<Option<Doubt>, sqlx::Error> {
        let now = clock();
        let doubt = self.against_database(now, &clock).await?;
        if doubt.is_none() {
            self.note_time(now).await?;
        }
        Ok(doubt)
    }

    async fn against_database(
        &self,
        before: Timestamp<Utc>,
        clock: impl Fn() -> Timestamp<Utc>,
    ) -> Result<Option<Doubt>, sqlx::Error> {
        let theirs =
            sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!: jiff_sqlx::Timestamp""#)
                .fetch_one(&self.pool)
                .await?;
        let theirs = time::from_sql(theirs);
        // It was read between these two.
        let (least, most) = (before - theirs, clock() - theirs);
        Ok(match () {
            () if least > TOLERANCE => Some(Doubt::Database(least)),
            () if -most > TOLERANCE => Some(Doubt::Database(most)),
            () => None,
        })
    }

    /// When it was last so late for certain; `None`: in a new database, where there is nothing to lose.
    async fn time_known(&self) -> Result<Option<Timestamp<Utc>>, sqlx::Error> {
        let known = sqlx::query_scalar!(
            r#"SELECT greatest(h.time_known, m.minutes_until) AS "known!: jiff_sqlx::Timestamp"
               FROM store.housekeeping h, store.tier_mark m"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Some(time::from_sql(known)).filter(|known| known.as_ns() > 0))
    }

    async fn note_time(&self, now: Timestamp<Utc>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "UPDATE store.housekeeping SET time_known = $1 WHERE time_known < $1",
            time::to_sql(now) as _
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }
}

/// A host's window is of host − UTC, and what its batches witness is of host − collector: the difference is of
/// collector − UTC. Simulated hosts live in a time of their own.
async fn testimony(
    executor: impl PgExecutor<'_>,
    now: Timestamp<Utc>,
) -> Result<Testimony, sqlx::Error> {
    sqlx::query_as!(
        Testimony,
        r#"SELECT count(*) FILTER (WHERE lo >= -$3::float8 AND hi <= $3) AS "right!",
                  count(*) FILTER (WHERE lo > $3 OR hi < -$3) AS "wrong!",
                  min((lo + hi) / 2) FILTER (WHERE lo > $3 OR hi < -$3) AS error_s
           FROM (SELECT (s.lo_ns::float8 - s.witness_hi_ns) / 1e9 AS lo, (s.hi_ns::float8 - s.witness_lo_ns) / 1e9 AS hi
                 FROM store.host_state s JOIN store.host h USING (host_id)
                 WHERE s.lo_ns IS NOT NULL AND s.witness_lo_ns IS NOT NULL
                   AND s.witness_at > $1 AND s.ref_time > $1 AND s.witness_at < $2
                   AND NOT h.simulated AND h.revoked_at IS NULL
                 LIMIT $4) w"#,
        time::to_sql(now - FRESH) as _,
        time::to_sql(now + TOLERANCE) as _,
        TOLERANCE.as_secs_f64(),
        WITNESSES
    )
    .fetch_one(executor)
    .await
}
