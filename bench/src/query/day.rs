//! A day of samples, brought in as it would have come: an hour at a time in the order of time, rolled up
//! minute by minute and repacked by the collector's own jobs.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, PgPool};
use store::Store;
use store::tiers::Keep;
use timebase::{Span, Timestamp, Utc};

use crate::hosts::run;

const HOUR_S: i64 = 3_600;
/// Between two reports of a host.
const INTERVAL_S: i64 = 10;
/// A minute is rolled up so long after its end.
const SLACK_S: i64 = 120;
/// As installed: younger hours stay as they came.
const RAW_S: i64 = 2 * HOUR_S;

const KEEP: Keep = Keep {
    raw: Span::from_secs(RAW_S),
    samples: Span::from_secs(30 * 86_400),
    minutes: Span::from_secs(30 * 86_400),
    hours: Span::from_secs(1_825 * 86_400),
    events: Span::from_secs(365 * 86_400),
};

/// What is in the database, in seconds since 1970.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Day {
    pub(crate) hosts: u32,
    /// Every so many-th host has rollups of a year before the day.
    pub(crate) every: u32,
    /// Hosts boot.
    pub(crate) since: i64,
    /// Older samples are repacked.
    pub(crate) repacked_until: i64,
    /// The end.
    pub(crate) until: i64,
}

impl Day {
    pub(crate) fn ending(now: i64, hosts: u32, every: u32, hours: u32) -> Self {
        let until = now - now % 60 - 60;
        let since = until - until % HOUR_S - i64::from(hours) * HOUR_S;
        let repacked_until = ((until - RAW_S) - (until - RAW_S) % HOUR_S).max(since);
        Self { hosts, every, since, repacked_until, until }
    }

    pub(crate) fn samples(&self) -> i64 {
        i64::from(self.hosts) * (self.until - self.since) / INTERVAL_S
    }

    /// Brings it in; the collector must not be at its own jobs meanwhile.
    pub(crate) async fn load(&self, pool: &PgPool, store: &Store) -> Result<()> {
        // As if the collector had begun then.
        run(
            pool,
            &format!(
                "UPDATE store.tier_mark SET (sealed_until, closed_until, minutes_sealed, minutes_until,
                     minutes_packed, hours_until) = (SELECT t, t, t, t, t, t FROM to_timestamp({}) t);",
                self.since
            ),
        )
        .await?;
        store.make_partitions(at(self.until)).await?;
        self.begin_epochs(pool).await?;
        let mut coming = self.since;
        // The jobs work on one hour while the next comes in.
        let mut done = self.since;
        while done < self.until {
            let next = (coming + HOUR_S).min(self.until);
            tokio::try_join!(
                self.samples_between(pool, coming, next),
                self.jobs(store, done, coming)
            )?;
            eprintln!(
                "{:.1} of {:.1} hours are in, {:.1} rolled up",
                hours(next - self.since),
                hours(self.until - self.since),
                hours(coming - self.since)
            );
            (done, coming) = (coming, next);
        }
        Ok(())
    }

    /// Errors swing by 50 µs, raw clocks are up to 20 ppm off; windows are some 600 µs wide.
    async fn samples_between(&self, pool: &PgPool, from: i64, to: i64) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let insert = format!(
            "INSERT INTO store.sample (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, sigma_ns,
                 frequency_ppb, boot_no, steps, state, sources_used, stray_ns, rate_margin_ppb)
             SELECT host_id, to_timestamp(us / 1e6::float8) + (h & 255) * interval '1 us', seq, us * 1000 + err,
                    (us - {since}000000) * 1000 + (us - {since}000000) * ppb / 1000000 + 1000000000,
                    err - 300000 - (h & 65535), err + 300000 + (h >> 8 & 65535), err + (h >> 16 & 8191) - 4096,
                    4000 + (h >> 20 & 255), ppb + (h & 15), 1, 0, 2, 3, 1500 + (h >> 4 & 255), 300
             FROM (SELECT host_id, us, seq, host_id * 37 % 40001 - 20000 AS ppb,
                          hashint8(host_id * 1000003 + seq) & 2147483647 AS h,
                          (50000 * sin(us / 1e6::float8 / (600 + host_id % 300)))::int8 AS err
                   FROM (SELECT host_id, tick * {INTERVAL_S} * 1000000 + host_id * 7919 % 10000000 AS us,
                                tick - {since} / {INTERVAL_S} + 1 AS seq
                         FROM generate_series({from}::int8 / {INTERVAL_S}, {to} / {INTERVAL_S} - 1) AS tick
                         CROSS JOIN generate_series(1::int8, {hosts}) AS host_id) t) x",
            since = self.since,
            hosts = self.hosts,
        );
        let mut tx = pool.begin().await?;
        // What a crash would lose is loaded again.
        sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *tx).await?;
        sqlx::query(AssertSqlSafe(insert)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn begin_epochs(&self, pool: &PgPool) -> Result<()> {
        let script = format!(
            "INSERT INTO store.epoch (host_id, boot_no, steps, first_ref_time, first_host_ns, first_raw_ns, first_seq)
             SELECT host_id, 1, 0, to_timestamp({since}), {since}000000000, 1000000000, 1
             FROM generate_series(1, {hosts}) AS host_id;
             ANALYZE store.epoch;",
            since = self.since,
            hosts = self.hosts,
        );
        run(pool, &script).await
    }

    /// What the collector does with the samples from `from` to `to`.
    async fn jobs(&self, store: &Store, from: i64, to: i64) -> Result<()> {
        for minute in (from..to).step_by(60) {
            let now = at(minute + 60 + SLACK_S);
            let done = store.maintain_tiers(now, &KEEP, 1).await.context("rollups")?;
            // A collector that goes on (one that stands still is woken where its shell ends) would close the day.
            ensure!(done.minutes == 1, "another collector is at the jobs of this database");
        }
        if from < to && to <= self.repacked_until {
            // As old as it must be to be repacked, and nothing else is.
            let early = Keep { raw: Span::from_secs(SLACK_S), ..KEEP };
            let now = at(to + SLACK_S);
            store.maintain_tiers(now, &early, 1).await.context("repacking")?;
            store.maintain_partitions(now, &early).await.context("dropping what is repacked")?;
        }
        Ok(())
    }

    /// Rollups before the day: 30 days by the minute, a year by the hour, of some of the hosts. They come in the
    /// order of time; the hours are gathered by the collector's own job.
    pub(crate) async fn load_year(&self, pool: &PgPool, store: &Store) -> Result<()> {
        let (since, hosts, every) = (self.since, self.hosts, self.every);
        let from = since - 365 * 86_400;
        let partitions = format!(
            "DO $$
             DECLARE start timestamptz; part record;
             BEGIN
                 FOR part IN SELECT * FROM (VALUES ('rollup_hour', 'month', 'YYYYMM', {from}),
                                                   ('minute_block', 'day', 'YYYYMMDD', {since} - 30 * 86400)) v(t, unit, digits, f)
                 LOOP
                     FOR start IN SELECT generate_series(date_trunc(part.unit, to_timestamp(part.f), 'UTC'), to_timestamp({since}),
                                                         ('1 ' || part.unit)::interval)
                     LOOP
                         CONTINUE WHEN to_regclass(format('store.%I', part.t || '_' || to_char(start, part.digits))) IS NOT NULL;
                         EXECUTE format('CREATE TABLE store.%I (LIKE store.%I INCLUDING ALL)', part.t || '_' || to_char(start, part.digits), part.t);
                         EXECUTE format('ALTER TABLE store.%I ATTACH PARTITION store.%I FOR VALUES FROM (%L) TO (%L)', part.t,
                                        part.t || '_' || to_char(start, part.digits), start, start + ('1 ' || part.unit)::interval);
                     END LOOP;
                 END LOOP;
             END $$"
        );
        sqlx::query(AssertSqlSafe(partitions)).execute(pool).await?;
        let rollups = |from: i64, step: i64| {
            format!(
                "SELECT host_id, t, -400000 - (h & 65535) AS lo, 400000 + (h >> 8 & 65535) AS hi, 600000 + (h & 65535) AS widest,
                        h % 50000 AS off
                 FROM (SELECT host_id, t, hashint8(host_id * 1000003 + t) & 2147483647 AS h
                       FROM generate_series({from}::int8, {since} - {step}, {step}) AS t
                       CROSS JOIN generate_series(1::int8, {hosts}, {every}) AS host_id) x",
                from = from + (step - from % step) % step,
            )
        };
        let of_hour = HOUR_S / INTERVAL_S;
        let hours = format!(
            "INSERT INTO store.rollup_hour (host_id, bucket, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns,
                 offset_max_ns, boot_no, steps, samples, without_window, first_ms, last_ms, gap_ms, epochs,
                 worst_state, sources_min)
             SELECT host_id, to_timestamp(t), lo, hi, widest, off, -50000, 50000, 1, 0, {of_hour}, 0, 1000, 3591000, 10000,
                    1, 2, 3
             FROM ({}) x ON CONFLICT DO NOTHING",
            rollups(from, HOUR_S)
        );
        let same = |value: i64| format!("array_agg({value})");
        let minutes = format!(
            "INSERT INTO store.minute_block (host_id, hour, minute, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns,
                 offset_max_ns, boot_no, steps, samples, without_window, first_ms, last_ms, gap_ms, epochs,
                 worst_state, sources_min)
             SELECT host_id, to_timestamp(t / {HOUR_S} * {HOUR_S}), array_agg((t % {HOUR_S} / 60)::int2), array_agg(lo),
                    array_agg(hi), array_agg(widest), array_agg(off), {}
             FROM ({} ORDER BY t / {HOUR_S}, host_id, t) x GROUP BY t / {HOUR_S}, host_id
             ORDER BY t / {HOUR_S}, host_id ON CONFLICT DO NOTHING",
            [-50_000, 50_000, 1, 0, 60 / INTERVAL_S, 0, 1_000, 51_000, 10_000, 1, 2, 3].map(same).join(", "),
            rollups(since - 30 * 86_400, 60)
        );
        for (table, insert) in [("rollup_hour", hours), ("minute_block", minutes)] {
            let mut tx = pool.begin().await?;
            sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *tx).await?;
            sqlx::query(AssertSqlSafe(insert)).execute(&mut *tx).await?;
            tx.commit().await?;
            sqlx::query(AssertSqlSafe(format!("VACUUM ANALYZE store.{table}")))
                .execute(pool)
                .await?;
            eprintln!("{table} of a year is in");
        }
        run(pool, "UPDATE store.tier_mark SET hours_gathered = 'epoch';").await?;
        let began = Instant::now();
        let done = store.maintain_tiers(at(self.until), &KEEP, 1_000).await?;
        eprintln!("{} days of hours gathered in {:.0} s", done.days, began.elapsed().as_secs_f64());
        run(pool, "VACUUM ANALYZE store.rollup_hour;").await
    }
}

fn at(seconds: i64) -> Timestamp<Utc> {
    Timestamp::from_ns(seconds * 1_000_000_000)
}

fn hours(seconds: i64) -> f64 {
    seconds as f64 / HOUR_S as f64
}
