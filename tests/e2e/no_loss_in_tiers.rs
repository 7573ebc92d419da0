use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use house_tests::{Client, Dice, House, Load, Pace};
use sqlx::PgPool;

use crate::no_loss::{LIMITS, seeds};

/// The least that the configuration takes: hours are repacked soon after their end.
const RETENTION: &str = "[retention]\nraw = \"10 min\"\n";
/// Hosts under load meanwhile, and what each reports a second.
const LIVE_HOSTS: usize = 2;
const LIVE_RATE: u64 = 50;
/// Steps of the work, each an hour rolled up or repacked, that go by at most before the next death.
const STEPS_BETWEEN: u64 = 5;
/// The next round is a minute away when a dead collector's connection still holds the lock of this one.
const STUCK: Duration = Duration::from_secs(8);
/// Two rounds of housekeeping, a minute each, and room for a slow machine.
const DROPPED_WITHIN: Duration = Duration::from_secs(300);

/// Twenty hours that are over, of sixteen hosts that report every ten seconds but for a gap, with jitter; one of them
/// steps, one has no window now and then. Samples of the hour before came late. Nothing is rolled up or repacked.
const FILL: &str = "
    CREATE TABLE public.base AS SELECT date_trunc('hour', now() - interval '15 minutes') AS hour;
    UPDATE store.tier_mark SET (sealed_until, closed_until, minutes_sealed, minutes_until, minutes_packed, hours_until) =
        (SELECT t, t, t, t, t, t FROM (SELECT hour - interval '20 hours' AS t FROM public.base) t);
    DO $$
    DECLARE at timestamptz; name text;
    BEGIN
        FOR at IN SELECT generate_series(hour - interval '20 hours', hour, '1 hour') FROM public.base LOOP
            name := 'sample_' || to_char(at AT TIME ZONE 'UTC', 'YYYYMMDDHH24');
            IF to_regclass('store.' || name) IS NULL THEN
                EXECUTE format('CREATE TABLE store.%I (LIKE store.sample INCLUDING ALL)', name);
                EXECUTE format('ALTER TABLE store.sample ATTACH PARTITION store.%I FOR VALUES FROM (%L) TO (%L)',
                               name, at, at + interval '1 hour');
            END IF;
        END LOOP;
    END $$;
    SELECT setseed(0.25);
    CREATE TABLE public.expected AS
    SELECT s.* FROM store.sample s WHERE false;
    INSERT INTO public.expected
    SELECT h, t + random() * interval '2 ms', seq,
           1800000000000000000 + raw + raw / 50000 + (random() * 900)::int8 - steps * 3600000000000,
           raw, CASE WHEN h % 10 <> 2 OR seq % 7 > 0 THEN off - 900000 - (random() * 200000)::int8 END,
           CASE WHEN h % 10 <> 2 OR seq % 7 > 0 THEN off + 900000 + (random() * 200000)::int8 END,
           off, CASE WHEN h % 10 <> 3 THEN 9000 + (random() * 100)::int8 END, -20000 + (random() * 50)::int8,
           1, steps, 2 + (seq % 97 = 0)::int4, 3, (random() * 5000)::int4, 4000
    FROM (SELECT 1000 + h AS h, n AS seq,
                 (SELECT hour FROM public.base) - interval '21 hours' + n * interval '10 s' AS t,
                 7000000000000 + n * 10000000000 + (random() * 3000000)::int8 AS raw,
                 (random() * 40000)::int8 AS off, (h % 10 = 4 AND n > 5000)::int4 AS steps
          FROM generate_series(1, 16) h, generate_series(0, 7559) n
          WHERE n NOT BETWEEN 2000 AND 2050) s;
    INSERT INTO store.sample_late SELECT e.* FROM public.expected e
    WHERE ref_time < (SELECT hour - interval '20 hours' FROM public.base);
    INSERT INTO store.rollup_dirty
    SELECT DISTINCT host_id, date_trunc('hour', ref_time) FROM store.sample_late;
    INSERT INTO store.sample SELECT e.* FROM public.expected e
    WHERE ref_time >= (SELECT hour - interval '20 hours' FROM public.base);
    ANALYZE public.expected";

const STEPS: i64 = 40;

/// Hours rolled up, and hours repacked.
const REACHED: &str = "
    SELECT least(floor(extract(epoch FROM minutes_until - hour + interval '20 hours') / 3600)::int8, 20),
           least(floor(extract(epoch FROM closed_until - hour + interval '20 hours') / 3600)::int8, 20)
    FROM store.tier_mark, public.base";

/// Samples of these hosts that are there once too often, or once too little.
const DIFFERENCE: &str = "
    WITH found AS (SELECT s.* FROM generate_series($1, $2) h, LATERAL store.samples(h, '-infinity', 'infinity') s),
         expected AS (SELECT e.* FROM public.expected e WHERE host_id BETWEEN $1 AND $2)
    SELECT (SELECT count(*) FROM (TABLE found EXCEPT ALL TABLE expected) a)
         + (SELECT count(*) FROM (TABLE expected EXCEPT ALL TABLE found) b)";

/// Rollups that are not those of the samples, of a minute or an hour.
const WRONG_ROLLUPS: &str = "
    WITH found AS (
        SELECT host_id, bucket, lo_ns, hi_ns, widest_ns, offset_min_ns, offset_max_ns, samples::int8,
               without_window::int8, worst_state, sources_min
        FROM {rollups} WHERE host_id > 1000
    ), expected AS (
        SELECT host_id, date_trunc('{unit}', ref_time), min(lo_ns), max(hi_ns), max(hi_ns - lo_ns), min(offset_ns),
               max(offset_ns), count(*), count(*) - count(lo_ns), max(state), min(sources_used)
        FROM public.expected GROUP BY 1, 2
    )
    SELECT (SELECT count(*) FROM (TABLE found EXCEPT ALL TABLE expected) a)
         + (SELECT count(*) FROM (TABLE expected EXCEPT ALL TABLE found) b)";

/// Minutes in which the fleet was not so large as it was.
const WRONG_FLEET: &str = "
    WITH found AS (
        SELECT m.bucket, m.hosts::int8 FROM store.fleet_minute m, public.base
        WHERE m.bucket >= hour - interval '20 hours' AND m.bucket < hour
    ), expected AS (
        SELECT date_trunc('minute', ref_time), count(DISTINCT host_id) FROM public.expected, public.base
        WHERE ref_time >= hour - interval '20 hours' GROUP BY 1
    )
    SELECT (SELECT count(*) FROM (TABLE found EXCEPT ALL TABLE expected) a)
         + (SELECT count(*) FROM (TABLE expected EXCEPT ALL TABLE found) b)";

/// Proves that killing the collector, its database or both without warning, at random instants while twenty hours are
/// rolled up and repacked and reports go on, neither loses a sample nor stores one twice, at any moment in between;
/// and that in the end every rollup is that of the samples, and the raw rows are gone.
/// `TRUECHIMER_CHAOS_SEEDS=100-199` tries other instants.
#[tokio::test]
async fn kill_9_while_hours_are_repacked() -> Result<()> {
    for seed in seeds()? {
        chaos(seed).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

async fn chaos(seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed);
    let mut house = House::start(&format!("{LIMITS}{RETENTION}")).await?;
    let mut load = Vec::new();
    for n in 0..LIVE_HOSTS {
        let url = house.grpc_url();
        let client = Client::enrol(&url, &house.join_token(), &format!("load-{n}")).await?;
        load.push(Load::start(client, Pace::PerSecond(LIVE_RATE)));
    }
    // The database lives on alone.
    house.collector.kill_9()?;
    let owner = house.owner().await?;
    sqlx::raw_sql(FILL).execute(&owner).await?;

    let (mut while_rolling, mut while_repacking) = (0, 0);
    loop {
        house.restart_unready()?;
        let more = 1 + dice.roll(STEPS_BETWEEN) as i64;
        let Some((rolled, repacked)) = unfinished_after(&owner, more).await else { break };
        tokio::time::sleep(Duration::from_micros(dice.roll(40_000))).await;
        strike(&mut house, &mut dice).await?;
        match rolled {
            20 => while_repacking += 1,
            _ => while_rolling += 1,
        }
        ensure!(
            while_rolling + while_repacking < 10 * STEPS,
            "stuck at {rolled} and {repacked} hours"
        );
    }
    ensure!(
        while_rolling > 0 && while_repacking > 0,
        "killed {while_rolling} times while rolling up and {while_repacking} while repacking: too seldom"
    );
    house.ready().await?;
    let owner = house.owner().await?;
    // What is packed is dropped in the first round after a start.
    let raw = "SELECT count(*) FROM store.sample, public.base WHERE ref_time < hour";
    let started = Instant::now();
    while number(&owner, raw).await? > 0 {
        ensure!(started.elapsed() < DROPPED_WITHIN, "raw rows are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(difference(&owner, 1001, 1016).await? == 0, "samples are not those that were");
    for (unit, rollups) in [("minute", "store.minutes"), ("hour", "store.rollup_hour")] {
        let wrong = WRONG_ROLLUPS.replace("{unit}", unit).replace("{rollups}", rollups);
        let wrong = number(&owner, &wrong).await?;
        ensure!(wrong == 0, "{wrong} rollups of a {unit} are wrong");
    }
    let wrong = number(&owner, WRONG_FLEET).await?;
    ensure!(wrong == 0, "the fleet was of another size in {wrong} minutes");
    for host in load {
        let name = host.client.name.clone();
        let sent = host.finish(Duration::from_secs(60)).await?;
        let stored: Vec<i64> =
            sqlx::query_scalar("SELECT seq FROM fleet.samples WHERE host = $1 ORDER BY seq")
                .bind(&name)
                .fetch_all(&owner)
                .await?;
        ensure!(
            stored.iter().copied().eq(1..=sent as i64),
            "{name}: {} of {sent} stored",
            stored.len()
        );
    }
    println!(
        "seed {seed}: killed {while_rolling} times while rolling up, {while_repacking} while repacking"
    );
    Ok(())
}

/// How far the work has got after so many steps more; `None`: all is done.
async fn unfinished_after(owner: &PgPool, more: i64) -> Option<(i64, i64)> {
    let mut since = None;
    let started = Instant::now();
    loop {
        // The database may be dead, or recover.
        if let Ok((rolled, repacked)) =
            sqlx::query_as::<_, (i64, i64)>(REACHED).fetch_one(owner).await
        {
            let dirty = number(owner, "SELECT count(*) FROM store.rollup_dirty").await;
            if rolled + repacked == STEPS && dirty.is_ok_and(|rows| rows == 0) {
                return None;
            }
            let before = *since.get_or_insert(rolled + repacked);
            if rolled + repacked >= before + more || started.elapsed() > STUCK {
                return Some((rolled, repacked));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn strike(house: &mut House, dice: &mut Dice) -> Result<()> {
    let host = 1001 + dice.roll(16) as i64;
    match dice.roll(3) {
        0 => house.collector.kill_9()?,
        1 => {
            // The collector starts it again, once it serves.
            house.ready().await?;
            house.kill_9_postgres()?;
            house.ready().await?;
            house.collector.kill_9()?;
        }
        _ => {
            house.collector.kill_9()?;
            house.kill_9_whole_postgres()?;
            return Ok(());
        }
    }
    let wrong = difference(&house.owner().await?, host, host).await?;
    ensure!(wrong == 0, "{wrong} samples of host {host} are there too often or not");
    Ok(())
}

async fn difference(owner: &PgPool, first: i64, last: i64) -> Result<i64> {
    Ok(sqlx::query_scalar(DIFFERENCE).bind(first).bind(last).fetch_one(owner).await?)
}

async fn number(owner: &PgPool, query: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(owner).await?)
}
