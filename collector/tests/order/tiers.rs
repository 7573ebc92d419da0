use sqlx::AssertSqlSafe;

use crate::history::{History, NOON_NS, Random};
use crate::truth::{Moments, moments};
use crate::world::World;

const HOUR: i64 = 3_600_000_000_000;

/// All that the functions say of these moments, as text.
async fn answers(world: &World, at: &Moments) -> Vec<String> {
    let mut all = Vec::new();
    for question in [
        "SELECT format('%s %s %s', q.host, q.local, w) FROM q, fleet.utc_window(q.host, q.local) w ORDER BY 1",
        "SELECT format('%s', l) FROM (SELECT array_agg(host ORDER BY n) AS hosts, array_agg(local ORDER BY n) AS locals
                                      FROM q) q, fleet.order_lines(q.hosts, q.locals) l ORDER BY 1",
        "SELECT format('%s %s %s', q.host, q.local, fleet.skew(q.host, p.host, to_timestamp(q.local / 1e9)))
         FROM q, q p WHERE p.n = q.n + 7 AND q.n % 5 = 0 ORDER BY 1",
        "SELECT format('%s %s %s', q.host, q.local, fleet.order_of(q.host, q.local, p.host, p.local))
         FROM q, q p WHERE p.n = q.n + 7 AND q.n % 5 = 0 ORDER BY 1",
    ] {
        let question = AssertSqlSafe(format!(
            "WITH q AS (SELECT * FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS q(host, local, n)) {question}"
        ));
        let rows: Vec<String> = sqlx::query_scalar(question)
            .bind(&at.names)
            .bind(&at.local)
            .fetch_all(&world.pool)
            .await
            .unwrap();
        all.extend(rows);
    }
    all
}

/// Proves that where a sample is kept changes no answer: those of hosts with all that can happen to a clock are the same, to the bit,
/// when samples are rows (late ones among them), when half of the hours are repacked, and when all are.
/// And that many readings of a clock at once are answered as each alone.
#[tokio::test(flavor = "multi_thread")]
async fn repacked_hours_answer_the_same() {
    let world = World::new().await;
    let histories: Vec<_> = (5_001..=5_060).map(History::eventful).collect();
    world.fill(&histories).await;
    let at = moments(&histories, 16, &mut Random(3));
    let kept =
        "SELECT (SELECT count(*) FROM store.sample), (SELECT count(*) FROM store.sample_late),
                       (SELECT count(*) FROM store.sample_block)";
    let (_, late, none): (i64, i64, i64) =
        sqlx::query_as(kept).fetch_one(&world.pool).await.unwrap();
    assert!(late > 0 && none == 0, "{late} {none}");
    let raw = answers(&world, &at).await;
    for (hours, whole) in [(2, false), (4, true)] {
        world.repack(NOON_NS + hours * HOUR).await;
        let (rows, late, blocks): (i64, i64, i64) =
            sqlx::query_as(kept).fetch_one(&world.pool).await.unwrap();
        assert!((rows == 0) == whole && late == 0 && blocks > 0, "{rows} {late} {blocks}");
        let repacked = answers(&world, &at).await;
        let differ: Vec<_> = raw.iter().zip(&repacked).filter(|(a, b)| a != b).take(5).collect();
        assert!(differ.is_empty() && raw.len() == repacked.len(), "{differ:#?}");
    }

    let other: Vec<String> = sqlx::query_scalar(
        "WITH q AS (SELECT * FROM unnest($1::text[], $2::int8[]) AS q(host, local)),
         clock AS (SELECT host, store.find_host(host) AS id, array_agg(local ORDER BY local) AS readings FROM q GROUP BY host),
         at_once AS (
             SELECT c.host, c.readings[w.line] AS local, w.lo_ns, w.hi_ns, w.boot_no, w.steps, w.basis
             FROM clock c, store.windows(c.id, c.readings, array_fill(0::int8, ARRAY[cardinality(c.readings)])) w),
         alone AS (SELECT q.host, q.local, w.* FROM q, fleet.utc_window(q.host, q.local) w)
         (SELECT format('at once %s', d) FROM (TABLE at_once EXCEPT ALL TABLE alone) d)
         UNION ALL (SELECT format('alone %s', d) FROM (TABLE alone EXCEPT ALL TABLE at_once) d)",
    )
    .bind(&at.names)
    .bind(&at.local)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(other.is_empty(), "{other:#?}");
    world.end().await;
}

/// Proves that what retention has dropped makes answers wide or none, never wrong: first the samples of some clock epochs
/// (filed days earlier), then of all.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_not_made_up() {
    const DAY: i64 = 24 * HOUR;
    let world = World::new().await;
    let histories: Vec<_> = (6_001..=6_060).map(History::eventful).collect();
    world.fill(&histories).await;
    world.repack(NOON_NS + 4 * HOUR).await;
    let at = moments(&histories, 6, &mut Random(5));
    let samples = "SELECT coalesce(sum(n), 0)::int8 FROM store.sample_block";
    let mut left: i64 = sqlx::query_scalar(samples).fetch_one(&world.pool).await.unwrap();
    for days in [30, 40] {
        let now = timebase::Timestamp::from_ns(NOON_NS + days * DAY);
        world.store.maintain_partitions(now, &crate::world::KEEP).await.unwrap();
        let fewer: i64 = sqlx::query_scalar(samples).fetch_one(&world.pool).await.unwrap();
        assert!(fewer < left && (fewer == 0) == (days == 40), "{fewer} of {left}");
        left = fewer;
        let wrong: Vec<String> = sqlx::query_scalar(
            "SELECT format('%s showed %s at %s: %s', q.host, q.local, q.utc, json_agg(w))
             FROM unnest($1::text[], $2::int8[], $3::int8[]) AS q(host, local, utc), fleet.utc_window(q.host, q.local) w
             GROUP BY q.host, q.local, q.utc
             HAVING NOT bool_or(q.utc >= coalesce(w.lo_ns, q.utc) AND q.utc <= coalesce(w.hi_ns, q.utc))",
        )
        .bind(&at.names)
        .bind(&at.local)
        .bind(&at.utc)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        assert!(
            wrong.is_empty(),
            "{} after {days} days: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
    }
    let sure = "SELECT count(*) FROM unnest($1::text[], $2::int8[]) AS q(host, local), fleet.utc_window(q.host, q.local) w
                WHERE w.lo_ns IS NOT NULL OR w.basis <> 'dropped'";
    let sure: i64 = sqlx::query_scalar(sure)
        .bind(&at.names)
        .bind(&at.local)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(sure, 0, "nothing is left, so nothing is known");
    world.end().await;
}

/// Proves that a clock that was set back an hour has not shown again what it will show only later: an old reading means
/// one moment, one that it has shown twice means two.
#[tokio::test(flavor = "multi_thread")]
async fn no_reading_is_of_the_future() {
    let world = World::new().await;
    let now: i64 =
        sqlx::query_scalar("SELECT store.ns_of(now())").fetch_one(&world.pool).await.unwrap();
    world.store.make_partitions(timebase::Timestamp::from_ns(now)).await.unwrap();
    // Right until half an hour ago, and an hour behind since.
    world
        .run(
            "INSERT INTO store.host (host_uuid, name, credential_hash) VALUES (gen_random_uuid(), 'ctl-3', 'x');
             INSERT INTO store.sample (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, frequency_ppb, boot_no, steps,
                                       stray_ns, rate_margin_ppb, state, sources_used)
             SELECT 1, t, n, store.ns_of(t) - error, n * 10000000000, -error - 500000, -error + 500000, 0, 1, (n > 540)::int4,
                    CASE WHEN n <> 541 THEN 500 END, 1000, 2, 3
             FROM (SELECT n, now() - interval '2 hours' + n * interval '10 s' AS t, (n > 540)::int4::int8 * 3600000000000 AS error
                   FROM generate_series(1, 719) n) s;
             INSERT INTO store.epoch
             SELECT DISTINCT ON (host_id, boot_no, steps) host_id, boot_no, steps, ref_time, host_ns, raw_ns, seq
             FROM store.sample ORDER BY host_id, boot_no, steps, seq",
        )
        .await;
    for (minutes_ago, rows) in [(110, 1), (70, 2), (50, 1)] {
        let reading = now - minutes_ago * HOUR / 60;
        let shown: Vec<(i64, i64)> =
            sqlx::query_as("SELECT lo_ns, hi_ns FROM fleet.utc_window('ctl-3', $1::int8)")
                .bind(reading)
                .fetch_all(&world.pool)
                .await
                .unwrap();
        assert_eq!(shown.len(), rows, "{minutes_ago}: {shown:?}");
        assert!(shown.iter().any(|w| w.0 <= reading && reading <= w.1), "{minutes_ago}: {shown:?}");
        assert!(shown.iter().all(|w| w.0 <= now), "{minutes_ago}: {shown:?}");
    }
    world.end().await;
}

/// Proves that readings so close together that floating point does not tell them apart are found in a block all
/// the same.
#[tokio::test(flavor = "multi_thread")]
async fn close_readings_are_found_in_blocks() {
    let world = World::new().await;
    world
        .run(&format!(
            "INSERT INTO store.host (host_uuid, name, credential_hash) VALUES (gen_random_uuid(), 'ctl-3', 'x');
             INSERT INTO store.sample (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, boot_no, steps, state,
                                       sources_used)
             SELECT 1, to_timestamp({NOON_NS} / 1e9) + n * interval '10 s', n, {NOON_NS} + n * 20, n * 10000000000,
                    -1000, 1000, 1, 0, 2, 3
             FROM generate_series(0, 9) n;
             INSERT INTO store.epoch
             SELECT host_id, boot_no, steps, ref_time, host_ns, raw_ns, seq FROM store.sample WHERE seq = 0"
        ))
        .await;
    world.repack(NOON_NS + 4 * HOUR).await;
    let found = "SELECT array_agg((p.before).seq ORDER BY r)
                 FROM store.sample_block b, generate_series(0, 8) r,
                      LATERAL store.block_pair(ROW(b.*)::store.block_row, $1 + r * 20 + 7) p";
    let found: Vec<i64> =
        sqlx::query_scalar(found).bind(NOON_NS).fetch_one(&world.pool).await.unwrap();
    assert_eq!(found, (0..9).collect::<Vec<i64>>());
    world.end().await;
}
