//! Samples on their way through the tiers: raw, repacked, rolled up.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use collector::clock;
use sqlx::PgPool;
use store::Store;
use store::tiers::Keep;
use timebase::{Span, Timestamp, Utc};

use crate::support::{Agent, World, eventually, report};

pub(crate) const HOUR: Span = Span::from_secs(3_600);
pub(crate) const DAY: Span = Span::from_secs(86_400);
pub(crate) const KEEP: Keep = Keep {
    raw: HOUR.times(2),
    samples: DAY.times(30),
    minutes: DAY.times(30),
    hours: DAY.times(365),
    events: DAY.times(365),
};

/// The two hours before this one, of four hosts that report every ten seconds but for a gap, with jitter; one
/// of them steps, one has no window now and then, and one shows what no clock does.
const FILL: &str = "
    SELECT setseed(0.25);
    INSERT INTO store.sample
    SELECT h, t + random() * interval '2 ms', seq,
           1800000000000000000 + raw + raw / 50000 + (random() * 900)::int8 - steps * 3600000000000,
           raw, CASE WHEN h <> 2 OR seq % 7 > 0 THEN off - 900000 - (random() * 200000)::int8 END,
           CASE WHEN h <> 2 OR seq % 7 > 0 THEN off + 900000 + (random() * 200000)::int8 END,
           off, CASE WHEN h <> 3 THEN 9000 + (random() * 100)::int8 END, -20000 + (random() * 50)::int8,
           1, steps, 2 + (seq % 97 = 0)::int4, 3, (random() * 5000)::int4, 4000
    FROM (SELECT h, n AS seq, (SELECT hour FROM public.base) - interval '2 hours' + n * interval '10 s' AS t,
                 7000000000000 + n * 10000000000 + (random() * 3000000)::int8 AS raw,
                 (random() * 40000)::int8 AS off, (h = 4 AND n > 500)::int4 AS steps
          FROM generate_series(1, 4) h, generate_series(0, 719) n
          WHERE n NOT BETWEEN 100 AND 150) s;
    INSERT INTO store.sample
    SELECT 5, (SELECT hour FROM public.base) - interval '2 hours' + n * interval '1 s', x, y, x, y, x, x # 77, x, y,
           2147483647, -5, -32768, 32767, 2147483647, -2147483648
    FROM (SELECT n, CASE n % 3 WHEN 0 THEN -9223372036854775807 - 1 WHEN 1 THEN 9223372036854775807 ELSE n END AS x,
                 CASE n % 4 WHEN 0 THEN 9223372036854775807 WHEN 1 THEN -9223372036854775807 ELSE -n END AS y
          FROM generate_series(1, 3) n) s;
    UPDATE store.sample SET state = 2 WHERE host_id = 5;
    CREATE TABLE public.expected AS TABLE store.sample;";

/// Rows that are in one of the two but not in the other.
const DIFFERENCE: &str = "
    WITH now_there AS (SELECT s.* FROM generate_series(1, 5) h,
             LATERAL store.samples(h, (SELECT hour FROM public.base) - interval '1 day', now() + interval '1 day') s)
    SELECT (SELECT count(*) FROM (SELECT * FROM now_there EXCEPT ALL TABLE public.expected) a)
         + (SELECT count(*) FROM (TABLE public.expected EXCEPT ALL SELECT * FROM now_there) b)";

/// Samples that minutes lack, as far as they reach, or hold twice.
pub(crate) const UNROLLED: &str = "
    SELECT (SELECT count(*) FROM public.expected, store.tier_mark WHERE ref_time < minutes_until)
         - (SELECT coalesce(sum(samples), 0)::int8 FROM store.minutes)";

pub(crate) async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

pub(crate) async fn filled() -> (World, Store, PgPool) {
    let world = World::start().await;
    let pool = world.sql().await;
    let store = world.app().store().clone();
    // The hours to be filled had just been over when the collector started.
    let base = "CREATE TABLE public.base AS SELECT date_trunc('hour', now()) AS hour;
                DO $$ BEGIN IF store.on_citus() THEN
                    PERFORM create_reference_table('public.base'); END IF; END $$;
                GRANT USAGE ON SCHEMA public TO fleet_reader;
                GRANT SELECT ON public.base TO fleet_reader;";
    sqlx::raw_sql(base).execute(&pool).await.unwrap();
    let begin = "UPDATE store.tier_mark SET sealed_until = t, closed_until = t, minutes_sealed = t,
                     minutes_until = t, minutes_packed = t, hours_until = t
                 FROM (SELECT (SELECT hour FROM public.base) - interval '2 hours' AS t) t";
    sqlx::query(begin).execute(&pool).await.unwrap();
    store.make_partitions(clock::now()).await.unwrap();
    sqlx::raw_sql(FILL).execute(&pool).await.unwrap();
    (world, store, pool)
}

/// Polls `work` at most so often, then drops it; what it came to, if it came to an end.
pub(crate) async fn cut_off<F: Future>(polls: u32, work: F) -> Option<F::Output> {
    let (mut left, mut work) = (polls, pin!(work));
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// When every hour that was filled is old enough.
pub(crate) fn later() -> Timestamp<Utc> {
    clock::now() + HOUR.times(3)
}

/// Proves that repacked hours give back every column of every sample exactly, extremes and nulls included, that
/// they are small, and that the raw partitions go.
#[tokio::test(flavor = "multi_thread")]
async fn repacked_hours_read_the_same() {
    let (mut world, store, pool) = filled().await;
    let before = number(&pool, "SELECT count(*) FROM public.expected").await;
    assert_eq!(number(&pool, DIFFERENCE).await, 0, "raw");
    let done = store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    assert!(done.hours >= 2 && done.samples == before.unsigned_abs(), "{done:?}");
    assert_eq!(number(&pool, DIFFERENCE).await, 0, "repacked");

    let dropped = store.maintain_partitions(clock::now(), &KEEP).await.unwrap().dropped;
    assert!(dropped >= 2, "{dropped}");
    assert_eq!(number(&pool, "SELECT count(*) FROM store.sample").await, 0);
    assert_eq!(number(&pool, DIFFERENCE).await, 0, "without the raw rows");

    let bytes = number(
        &pool,
        "SELECT sum(bit_length(data) / 8) / sum(n) FROM store.sample_block WHERE host_id < 5",
    );
    assert!(bytes.await <= 22, "bits of hosts without extremes");
    let stretch = "SELECT count(*) FROM store.samples(1, (SELECT hour FROM public.base) - interval '61 minutes',
                                                         (SELECT hour FROM public.base) - interval '59 minutes')";
    assert_eq!(number(&pool, stretch).await, 12, "half-open, over the edge of two blocks");
    let places = "SELECT count(*) FROM store.sample_block b, generate_series(0, b.n - 1) k,
                      LATERAL store.block_samples(ROW(b.*)::store.block_row, k, k) s,
                      LATERAL store.block_pair(ROW(b.*)::store.block_row, s.host_ns) p, LATERAL store.block_pair(ROW(b.*)::store.block_row, s.host_ns - 1) q
                  WHERE b.host_id < 5 AND (
                      -- What a pair leaves out aside.
                      to_jsonb(p.before) || '{\"offset_ns\": 0, \"sigma_ns\": 0, \"state\": 0, \"sources_used\": 0}'
                          IS DISTINCT FROM
                      to_jsonb(s) || '{\"offset_ns\": 0, \"sigma_ns\": 0, \"state\": 0, \"sources_used\": 0}'
                      OR q.after IS DISTINCT FROM p.before
                      OR (p.after).seq <= s.seq OR ((p.after).seq IS NULL) <> (k = b.n - 1)
                      OR ((q.before).seq IS NULL) <> (k = 0))";
    assert_eq!(number(&pool, places).await, 0, "each sample is found by its host clock");
    world.stop().await;
}

/// Proves that repacking and rolling up, cut off at any point, are taken up again and end as if nothing had
/// happened: every sample once, every minute once.
#[tokio::test(flavor = "multi_thread")]
async fn cut_off_anywhere() {
    let (mut world, store, pool) = filled().await;
    let later = later();
    let mut cuts = 0;
    for polls in (1..).step_by(3) {
        // Connections of its own, that die with it, as those of a process do.
        let killed = Store::from_pool(world.sql().await);
        let cut = cut_off(polls, killed.maintain_tiers(later, &KEEP, 24));
        match cut.await {
            Some(done) => {
                done.unwrap();
                break;
            }
            None => cuts += 1,
        }
        assert_eq!(number(&pool, DIFFERENCE).await, 0, "cut off after {polls} steps");
        assert_eq!(number(&pool, UNROLLED).await, 0, "minutes, cut off after {polls} steps");
    }
    // The server may take a moment to see that the last one has gone.
    let closed = "SELECT count(*) FROM store.tier_mark WHERE closed_until > now()";
    eventually("all is repacked", async || {
        store.maintain_tiers(later, &KEEP, 24).await.unwrap();
        (number(&pool, closed).await == 1).then_some(())
    })
    .await;
    assert!(cuts > 5, "it was cut off {cuts} times only");
    assert_eq!(number(&pool, DIFFERENCE).await, 0);
    let minutes = "SELECT sum(samples)::int8 FROM store.minutes";
    let hours = "SELECT sum(samples)::int8 FROM store.rollup_hour";
    let all = number(&pool, "SELECT count(*) FROM public.expected").await;
    assert_eq!((number(&pool, minutes).await, number(&pool, hours).await), (all, all));
    world.stop().await;
}

/// Proves that samples of an hour that is repacked and rolled up already are stored once, seen, and corrected
/// into the rollups; and that they are repacked in their turn.
#[tokio::test(flavor = "multi_thread")]
async fn late_samples_are_stored_once_and_correct_rollups() {
    let mut world = World::start().await;
    let (store, pool) = (world.app().store().clone(), world.sql().await);
    let agent = Agent::enrol(&world, "a").await;
    store.maintain_tiers(clock::now(), &KEEP, 24).await.unwrap();
    let mut session = agent.session().await;
    let mut old = report(1);
    old.raw_ns -= DAY.as_ns();
    let reports = vec![old, report(2)];
    session.send(reports.clone()).await;
    assert_eq!(session.ack().await.seq, 2);
    session.send(reports).await;
    assert_eq!(session.ack().await.seq, 2);
    let samples = "SELECT count(*) FROM store.samples((SELECT host_id FROM store.host),
                                                      now() - interval '9 days', now() + interval '1 day')";
    let view = "SELECT count(*) FROM fleet.samples WHERE host = 'a'";
    assert_eq!(number(&pool, "SELECT count(*) FROM store.sample_late").await, 1);
    assert_eq!((number(&pool, samples).await, number(&pool, view).await), (2, 2));

    let done = store.maintain_tiers(clock::now(), &KEEP, 24).await.unwrap();
    assert_eq!(done.corrected, 1);
    let rolled = "SELECT (SELECT sum(samples) FROM store.minutes WHERE lo_ns = -1000)::int8
                       + (SELECT sum(samples) FROM store.rollup_hour WHERE hi_ns = 2000)::int8";
    assert_eq!(number(&pool, rolled).await, 2, "the old one: in its minute and its hour");

    let done = store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    assert_eq!((done.late, done.samples), (1, 1), "{done:?}");
    assert_eq!(number(&pool, "SELECT count(*) FROM store.sample_late").await, 0);
    assert_eq!((number(&pool, samples).await, number(&pool, view).await), (2, 2));
    let mut again = report(1);
    again.raw_ns -= DAY.as_ns();
    session.send(vec![again, report(3)]).await;
    assert_eq!(session.ack().await.seq, 3);
    assert_eq!(number(&pool, samples).await, 3, "one re-sent, one new");
    world.stop().await;
}

/// Proves that with a query that goes on reading samples partitions are made and ingest goes on, that what is
/// to be dropped waits, unseen, and goes when the query ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_stops_nothing() {
    let (mut world, store, pool) = filled().await;
    let mut session = Agent::enrol(&world, "a").await.session().await;
    let mut reader = pool.begin().await.unwrap();
    for table in ["SELECT count(*) FROM store.sample", "SELECT count(*) FROM store.rollup_minute"] {
        sqlx::query(table).execute(&mut *reader).await.unwrap();
    }

    store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    let done = store.maintain_partitions(clock::now() + DAY, &KEEP).await.unwrap();
    assert!(done.made > 20 && done.dropped == 0, "{done:?}");
    session.send(vec![report(1)]).await;
    assert_eq!(session.ack().await.seq, 1);
    assert_eq!(
        number(&pool, DIFFERENCE).await,
        1,
        "the new one; what could not be dropped is not seen twice"
    );

    reader.rollback().await.unwrap();
    let done = store.maintain_partitions(clock::now() + DAY, &KEEP).await.unwrap();
    assert!(done.dropped >= 2, "{done:?}");
    assert_eq!(number(&pool, DIFFERENCE).await, 1);
    world.stop().await;
}

/// Proves that a query which began before an hour was packed finds its samples and minutes, although it comes to them
/// last.
#[tokio::test(flavor = "multi_thread")]
async fn rows_outlast_those_who_may_read_them() {
    let (mut world, store, pool) = filled().await;
    let all = number(&pool, "SELECT count(*) FROM public.expected").await;
    let hour = "SELECT extract(epoch FROM hour)::int8 FROM public.base";
    let rolled_up = Timestamp::from_ns((number(&pool, hour).await + 120) * 1_000_000_000);
    let done = store.maintain_tiers(rolled_up, &KEEP, 24).await.unwrap();
    assert_eq!(
        (done.minutes, done.packed, done.samples),
        (120, 1, 0),
        "one hour is not packed yet"
    );
    let mut reader = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::query("SELECT closed_until FROM store.tier_mark").execute(&mut *reader).await.unwrap();

    let done = store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    assert_eq!(done.samples, all.unsigned_abs());
    assert_eq!(store.maintain_partitions(clock::now(), &KEEP).await.unwrap().dropped, 0);
    assert_eq!(number(&pool, DIFFERENCE).await, 0, "whoever begins now");
    let difference: i64 = sqlx::query_scalar(DIFFERENCE).fetch_one(&mut *reader).await.unwrap();
    assert_eq!(difference, 0, "whoever began before");
    let unrolled: i64 = sqlx::query_scalar(UNROLLED).fetch_one(&mut *reader).await.unwrap();
    assert_eq!((unrolled, number(&pool, UNROLLED).await), (0, 0), "minutes, before and now");

    reader.rollback().await.unwrap();
    let dropped = store.maintain_partitions(clock::now(), &KEEP).await.unwrap().dropped;
    assert!(dropped >= 2, "{dropped}");
    assert_eq!(number(&pool, DIFFERENCE).await, 0);
    world.stop().await;
}

/// Proves that people see it: as fleet_reader, the history with its tier, the gap with its reason, the fleet by
/// minutes, the size of the tiers.
#[tokio::test(flavor = "multi_thread")]
async fn people_see_it() {
    let (mut world, store, pool) = filled().await;
    let name = "INSERT INTO store.host (host_uuid, name, credential_hash, enrolled_at)
                SELECT gen_random_uuid(), 'host-' || n, n::text::bytea, (SELECT hour FROM public.base) - interval '2 hours'
                FROM generate_series(1, 4) n";
    sqlx::query(name).execute(&pool).await.unwrap();
    let event = "INSERT INTO store.event VALUES (1, 1, 151, 0, (SELECT hour FROM public.base) - interval '2 hours'
                     + interval '1510 s', 0, 0, 'suspend', 500000000000, 'slept')";
    sqlx::query(event).execute(&pool).await.unwrap();
    store.maintain_tiers(later(), &KEEP, 24).await.unwrap();
    store.maintain_partitions(clock::now(), &KEEP).await.unwrap();

    let mut people = pool.acquire().await.unwrap();
    sqlx::query("SET ROLE fleet_reader").execute(&mut *people).await.unwrap();
    for (query, expected) in [
        ("SELECT count(*) FROM fleet.samples_of('host-1', now() - interval '4 hours', now())", 669),
        ("SELECT count(*) FROM fleet.samples WHERE host = 'host-1'", 669),
        ("SELECT sum(samples)::int8 FROM fleet.host_history('host-1', now() - interval '3 hours')", 669),
        ("SELECT count(DISTINCT tier) FROM fleet.host_history('host-1', now() - interval '1 year', now(), 1000)
          WHERE tier = 'hour'", 1),
        ("SELECT max(steps)::int8 FROM fleet.host_history('host-4', now() - interval '1 day')", 1),
        ("SELECT count(*) FROM fleet.coverage(now() - interval '4 hours', (SELECT hour FROM public.base))", 4),
        ("SELECT count(*) FROM fleet.coverage(now() - interval '4 hours', (SELECT hour FROM public.base))
          WHERE host = 'host-1' AND reason = 'suspend' AND length BETWEEN '515 s' AND '525 s'", 1),
        ("SELECT count(*) FROM fleet.fleet_history WHERE hosts >= 4 AND synchronised >= 3 AND offset_max_ns > 0
            AND width_p50_ns BETWEEN 1800000 AND 2200000 AND cardinality(extreme_hosts) > 0", 110),
        ("SELECT count(*) FROM fleet.storage WHERE bytes > 0 AND keep > '1 hour'", 5),
    ] {
        let found: i64 = sqlx::query_scalar(query).fetch_one(&mut *people).await.unwrap();
        assert!(if expected == 110 { found >= 100 } else { found == expected }, "{query}: {found}");
    }
    let unknown = sqlx::query("SELECT fleet.host_history('nobody', now() - interval '1 hour')");
    let error = unknown.execute(&mut *people).await.unwrap_err().to_string();
    assert!(error.contains("no host \"nobody\""), "{error}");
    drop(people);

    let report = store.storage_report().await.unwrap();
    let tiers: Vec<_> = report.tiers.iter().map(|tier| tier.tier.as_str()).collect();
    assert_eq!(tiers, ["raw", "late", "samples", "minutes", "hours", "events"]);
    world.stop().await;
}
