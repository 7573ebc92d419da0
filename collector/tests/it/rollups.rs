//! Rollups on their way: of minutes and hours, corrected, packed, gathered.

use collector::clock;
use sqlx::Row;
use store::Store;
use timebase::{Span, Timestamp};

use crate::support::{World, eventually};
use crate::tiers::{KEEP, UNROLLED, cut_off, filled, later, number};

/// Proves that a history in minutes or hours shows the extremes, counts, gaps and worst states that the samples
/// themselves show, whichever tier it comes from.
#[tokio::test(flavor = "multi_thread")]
async fn histories_agree_with_samples() {
    let (mut world, store, pool) = filled().await;
    for bucket in ["60", "120", "3600"] {
        let sql = format!(
            "CREATE TABLE public.h{bucket} AS SELECT g AS host, bucket, first_at, lo_ns, hi_ns, widest_ns, offset_min_ns,
                 offset_max_ns, samples, without_window, worst_state, sources_min
             FROM generate_series(1, 3) g, store.history(g, now() - interval '1 day', now(), {bucket})"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    for (bucket, tier) in [("60", "minute"), ("120", "minute"), ("3600", "hour")] {
        let sql = format!(
            "WITH h AS (SELECT g AS host, h.* FROM generate_series(1, 3) g,
                        store.history(g, now() - interval '1 day', now(), {bucket}) h)
             SELECT (SELECT count(*) FROM h WHERE tier = '{tier}') AS rows,
                    (SELECT count(*) FROM (
                        SELECT host, bucket, lo_ns, hi_ns, widest_ns, offset_min_ns, offset_max_ns, samples,
                               without_window, worst_state, sources_min FROM h
                        EXCEPT SELECT host, bucket, lo_ns, hi_ns, widest_ns, offset_min_ns, offset_max_ns, samples,
                               without_window, worst_state, sources_min FROM public.h{bucket}) d) AS different,
                    (SELECT max(gap_ms) FROM h) AS gap"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
        let (rows, different): (i64, i64) = (row.get(0), row.get(1));
        assert!(rows > 5 && different == 0, "{bucket} s: {rows} rows, {different} differ");
        assert!((515_000..525_000).contains(&row.get::<i64, _>(2)), "the gap shows at {bucket} s");
    }
    world.stop().await;
}

/// Minutes of the hours that were filled.
const MINUTES: &str = "
    SELECT host_id, bucket, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns, offset_max_ns, boot_no, steps, samples,
           without_window, first_ms, last_ms, gap_ms, epochs, worst_state, sources_min
    FROM store.{minutes}, public.base WHERE bucket < base.hour";

/// Proves that the minutes of an hour that is packed are those that were rolled up, every column of them; that their
/// rows go; and that a sample which comes late makes them, and their hour, again.
#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_packed_exactly() {
    let (mut world, store, pool) = filled().await;
    let rows = MINUTES.replace("{minutes}", "rollup_minute");
    let keep_rows = format!(
        "CREATE TABLE public.rows AS {rows} LIMIT 0;
         CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO public.rows {rows} AND bucket >= OLD.minutes_packed AND bucket < NEW.minutes_packed;
             RETURN NEW;
         END $$;
         CREATE TRIGGER keep BEFORE UPDATE OF minutes_packed ON store.tier_mark
         FOR EACH ROW EXECUTE FUNCTION public.keep();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(keep_rows)).execute(&pool).await.unwrap();
    let done = store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    assert!(done.packed >= 2 && !done.unfinished, "{done:?}");
    let all = MINUTES.replace("{minutes}", "minutes");
    let different = format!(
        "SELECT (SELECT count(*) FROM ({all} EXCEPT ALL TABLE public.rows) a)
              + (SELECT count(*) FROM (TABLE public.rows EXCEPT ALL {all}) b)"
    );
    let different = async || -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(different.clone())).fetch_one(&pool).await.unwrap()
    };
    assert!(number(&pool, "SELECT count(*) FROM public.rows").await > 300);
    assert_eq!(different().await, 0, "packed");
    store.maintain_partitions(clock::now(), &KEEP).await.unwrap();
    let left = "SELECT count(*) FROM store.rollup_minute, public.base WHERE bucket < base.hour";
    assert_eq!(number(&pool, left).await, 0, "the rows went");
    assert_eq!(different().await, 0, "without the rows");

    let late = "
        INSERT INTO store.sample_late (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, boot_no, steps,
                                       state, sources_used)
        SELECT 2, hour - interval '5 min', 9999, 0, 0, -123456789, 5, 0, 1, 0, 2, 3 FROM public.base;
        INSERT INTO store.sample_late (host_id, ref_time, seq, host_ns, raw_ns, boot_no, steps, state, sources_used)
        SELECT 99, hour - interval '5 min', 9999, 0, 0, 1, 0, 1, 0 FROM public.base;
        INSERT INTO store.rollup_dirty SELECT h, hour - interval '1 hour' FROM public.base, unnest(ARRAY[2, 99]) h;";
    sqlx::raw_sql(late).execute(&pool).await.unwrap();
    let done = store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    assert_eq!(done.corrected, 2);
    assert_eq!(different().await, 3, "its minute before and after, and one without a window");
    let without = "SELECT count(*) FROM store.minutes WHERE host_id = 99 AND lo_ns IS NULL AND widest_ns IS NULL";
    assert_eq!(number(&pool, without).await, 1);
    let corrected = "
        SELECT (SELECT count(*) FROM store.minutes, public.base
                WHERE host_id = 2 AND bucket = base.hour - interval '5 min' AND lo_ns = -123456789)
             + (SELECT count(*) FROM store.rollup_hour, public.base
                WHERE host_id = 2 AND bucket = base.hour - interval '1 hour' AND lo_ns = -123456789)";
    assert_eq!(number(&pool, corrected).await, 2);
    world.stop().await;
}

/// Proves that packing, killed with an hour half packed, is taken up again; that nobody sees its blocks before; and that
/// what comes late for that hour meanwhile is corrected afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn packing_is_taken_up_again() {
    let (mut world, store, pool) = filled().await;
    let fleet = "
        INSERT INTO store.host (host_uuid, name, credential_hash)
        SELECT gen_random_uuid(), 'host-' || n, n::text::bytea FROM generate_series(1, 2100) n ORDER BY n;
        INSERT INTO store.sample (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, boot_no, steps, state,
                                  sources_used)
        SELECT h, hour - interval '115 min', 1, 0, 0, -5, 5, 0, 1, 0, 2, 3 FROM public.base, generate_series(10, 2100) h;
        INSERT INTO public.expected SELECT * FROM store.sample WHERE host_id >= 10";
    sqlx::raw_sql(fleet).execute(&pool).await.unwrap();
    // Rolled up, but for the packing.
    let packed_until = "UPDATE store.tier_mark SET minutes_packed = hour - make_interval(hours => $1) FROM public.base";
    sqlx::query(packed_until).bind(1).execute(&pool).await.unwrap();
    let hour = "SELECT extract(epoch FROM hour)::int8 FROM public.base";
    let rolled_up = Timestamp::from_ns((number(&pool, hour).await + 120) * 1_000_000_000);
    store.maintain_tiers(rolled_up, &KEEP, 24).await.unwrap();
    sqlx::query(packed_until).bind(2).execute(&pool).await.unwrap();
    let half =
        "SELECT count(*) FROM store.minute_block, store.tier_mark WHERE hour >= minutes_packed";
    let unpacked = "SELECT count(*) FROM store.tier_mark, public.base WHERE minutes_packed = hour - interval '2 hours'";
    for polls in 1.. {
        let killed = Store::from_pool(world.sql().await);
        let cut = cut_off(polls, killed.maintain_tiers(rolled_up, &KEEP, 24));
        // All there is to do was done, if the one before is gone and holds it up no more.
        let _ = cut.await;
        if number(&pool, half).await > 0 {
            break;
        }
        assert_eq!(number(&pool, unpacked).await, 1, "it was never cut off half-way");
    }
    assert!(number(&pool, half).await < 2_095, "all of them");
    assert_eq!(number(&pool, UNROLLED).await, 0, "half packed");
    let late = "
        INSERT INTO store.sample_late (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, boot_no, steps,
                                       state, sources_used)
        SELECT h, hour - interval '114 min', 2, 0, 0, -123456789, 5, 0, 1, 0, 2, 3
        FROM public.base, unnest(ARRAY[10, 2100]) h;
        INSERT INTO public.expected SELECT * FROM store.sample_late;
        INSERT INTO store.rollup_dirty SELECT host_id, date_trunc('hour', ref_time), ref_time, ref_time
        FROM store.sample_late";
    sqlx::raw_sql(late).execute(&pool).await.unwrap();
    let corrected = "SELECT count(*) FROM store.minutes WHERE lo_ns = -123456789";
    eventually("the hour is packed and corrected", async || {
        store.maintain_tiers(rolled_up, &KEEP, 24).await.unwrap();
        (number(&pool, corrected).await == 2).then_some(())
    })
    .await;
    assert_eq!((number(&pool, half).await, number(&pool, UNROLLED).await), (0, 0));
    world.stop().await;
}

/// Proves that hosts of which samples came late are corrected, whatever their number: as many in a round as minutes to
/// come should wait for, the rest in the next; in an hour that goes on, too. And that of samples that were dropped
/// before that the rollups stay.
#[tokio::test(flavor = "multi_thread")]
async fn corrections_of_many_hosts() {
    let (mut world, store, pool) = filled().await;
    let start = "SELECT extract(epoch FROM hour)::int8 - 7200 FROM public.base";
    let start = Timestamp::from_ns(number(&pool, start).await * 1_000_000_000);
    let rolled_to = |minute: i64| start + Span::from_secs(60).times(minute + 2);
    let late = "
        INSERT INTO store.sample_late (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, boot_no, steps,
                                       state, sources_used)
        SELECT h, hour - interval '115 min', 9999, 0, 0, -123456789, 5, 0, 1, 0, 2, 3
        FROM public.base, generate_series(1001, 22500) h;
        INSERT INTO store.rollup_dirty SELECT host_id, (SELECT hour FROM public.base) - interval '2 hours', ref_time, ref_time
        FROM store.sample_late;
        INSERT INTO store.rollup_hour (host_id, bucket, samples, boot_no, steps, without_window, first_ms, last_ms, gap_ms,
                                       epochs, worst_state, sources_min)
        SELECT 7, (SELECT hour FROM public.base) - interval '9 days', 1, 1, 0, 1, 0, 0, 0, 1, 2, 0;
        UPDATE store.tier_mark SET samples_from = (SELECT hour FROM public.base) - interval '8 days';
        INSERT INTO store.rollup_dirty SELECT 7, (SELECT hour FROM public.base) - interval '9 days'";
    sqlx::raw_sql(late).execute(&pool).await.unwrap();
    let seen = "SELECT count(*) FROM store.minutes WHERE lo_ns = -123456789";
    let done = store.maintain_tiers(rolled_to(25), &KEEP, 24).await.unwrap();
    assert_eq!((done.minutes, done.corrected, done.unfinished), (25, 20_000, true));
    assert_eq!(number(&pool, seen).await, 20_000);
    let done = store.maintain_tiers(rolled_to(25), &KEEP, 24).await.unwrap();
    assert_eq!((done.minutes, done.corrected, done.unfinished), (0, 1_500, false));
    assert_eq!(number(&pool, seen).await, 21_500);
    let left =
        "SELECT (SELECT count(*) FROM store.rollup_hour WHERE bucket < now() - interval '8 days')
                     + (SELECT count(*) FROM store.rollup_dirty)";
    assert_eq!(number(&pool, left).await, 1, "the hour of dropped samples");
    world.stop().await;
}

/// Two days of 200 hosts, an hour at a time.
const TWO_DAYS: &str = "
    INSERT INTO store.host (host_uuid, name, credential_hash)
    SELECT gen_random_uuid(), 'host-' || n, n::text::bytea FROM generate_series(1, 200) n ORDER BY n;
    INSERT INTO store.rollup_hour
    SELECT h, t, -h * 1000, h * 1000, h * 2000, n, n - 7, n + 7, 1, 0, 360, 0, 0, 3590000, 10000, 1, 2, 3
    FROM generate_series(0, 47) n, LATERAL (SELECT (SELECT day FROM public.base) + n * interval '1 hour' AS t) t,
         generate_series(1, 200) h;
    CREATE TABLE public.hours AS TABLE store.rollup_hour;
    UPDATE store.tier_mark SET (sealed_until, closed_until, minutes_sealed, minutes_until, minutes_packed, hours_until) =
        (SELECT t, t, t, t, t, t FROM date_trunc('hour', now()) t);";
/// Pages that the hours of one host and day are on, at most.
const PAGES: &str = "
    SELECT max(pages) FROM (SELECT count(DISTINCT (tableoid, (ctid::text::point)[0])) AS pages FROM store.rollup_hour
                            GROUP BY host_id, date_trunc('day', bucket AT TIME ZONE 'UTC')) p";
const HOURS_CHANGED: &str = "
    SELECT (SELECT count(*) FROM (TABLE store.rollup_hour EXCEPT ALL TABLE public.hours) a)
         + (SELECT count(*) FROM (TABLE public.hours EXCEPT ALL TABLE store.rollup_hour) b)";

/// Proves that the hours of a day that is over come to lie beside each other, host by host, and are seen unchanged
/// wherever that is cut off; and that a sample that comes late corrects them all the same.
#[tokio::test(flavor = "multi_thread")]
async fn hours_are_gathered_by_host() {
    let mut world = World::start().await;
    let (store, pool) = (world.app().store().clone(), world.sql().await);
    let base = "CREATE TABLE public.base AS SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                                                   - interval '2 days' AS day";
    sqlx::raw_sql(base).execute(&pool).await.unwrap();
    sqlx::raw_sql(TWO_DAYS).execute(&pool).await.unwrap();
    assert_eq!(number(&pool, PAGES).await, 24);
    let mut cuts = 0;
    for polls in (1..).step_by(3) {
        let killed = Store::from_pool(world.sql().await);
        let cut = cut_off(polls, killed.maintain_tiers(clock::now(), &KEEP, 48));
        match cut.await {
            Some(done) => {
                done.unwrap();
                break;
            }
            None => cuts += 1,
        }
        assert_eq!(number(&pool, HOURS_CHANGED).await, 0, "cut off after {polls} steps");
    }
    let gathered =
        "SELECT count(*) FROM store.tier_mark, public.base WHERE hours_gathered = day + '2 days'";
    eventually("both days are gathered", async || {
        store.maintain_tiers(clock::now(), &KEEP, 48).await.unwrap();
        (number(&pool, gathered).await == 1).then_some(())
    })
    .await;
    assert!(cuts > 5, "it was cut off {cuts} times only");
    assert_eq!(number(&pool, HOURS_CHANGED).await, 0);
    assert!(number(&pool, PAGES).await <= 3);

    let late = "
        INSERT INTO store.sample_late (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, boot_no, steps,
                                       state, sources_used)
        SELECT 7, day + '90 minutes', 1, 0, 0, -123456789, 5, 0, 1, 0, 2, 3 FROM public.base;
        INSERT INTO store.rollup_dirty SELECT 7, day + '1 hour' FROM public.base;";
    sqlx::raw_sql(late).execute(&pool).await.unwrap();
    store.maintain_tiers(clock::now(), &KEEP, 48).await.unwrap();
    let corrected = "SELECT count(*) FROM store.rollup_hour, public.base
                     WHERE host_id = 7 AND bucket = day + '1 hour' AND lo_ns = -123456789";
    assert_eq!(number(&pool, corrected).await, 1);
    assert_eq!(number(&pool, HOURS_CHANGED).await, 2, "nothing else has changed");
    world.stop().await;
}
