//! Nobody stops the collector, and no wrong clock drops what it keeps.

use std::time::Duration;

use collector::app::Housekeeper;
use collector::clock;
use collector::observe::Health;
use prometheus_client::registry::Registry;
use sqlx::{AssertSqlSafe, PgPool};
use store::doubt::Doubt;
use timebase::Span;

use crate::support::{Agent, World, eventually, report};
use crate::tiers::KEEP;

const MINUTE: Span = Span::from_secs(60);
const DAY: Span = Span::from_secs(86_400);

/// Proves that a session which holds every lock that is open to all, advisory ones, keeps nobody from storing,
/// judging, keeping the tiers and migrating.
#[tokio::test(flavor = "multi_thread")]
async fn locks_that_all_may_take_stop_nothing() {
    let mut world = World::start().await;
    let (store, pool) = (world.app().store().clone(), world.sql().await);
    let mut greedy = pool.acquire().await.unwrap();
    // Those of earlier versions; the last is the library's for migrations, made of the database's name.
    let taken = "SELECT pg_advisory_lock(n) FROM unnest(ARRAY[8390321640741431633, 8390898134316052577,
                     8390898134316706924, 8390898134182880359, 8390898134064589165, 2080100430749910430]) n";
    sqlx::query(taken).execute(&mut *greedy).await.unwrap();

    let mut session = Agent::enrol(&world, "a").await.session().await;
    session.send(vec![report(1)]).await;
    assert_eq!(session.ack().await.seq, 1);
    store.take_seat(clock::now()).await.unwrap().unwrap().leave().await.unwrap();
    store.maintain_tiers(clock::now(), &KEEP, 24).await.unwrap();
    store.maintain_partitions(clock::now() + DAY, &KEEP).await.unwrap();
    store.migrate().await.unwrap();
    world.stop().await;
}

/// Proves that a collector which stands still in the middle of storing samples keeps no other from storing, though
/// hours are to be sealed meanwhile; and that they are sealed once it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_still_stops_no_other() {
    let mut world = World::start().await;
    let (store, pool) = (world.app().store().clone(), world.sql().await);
    let mut session = Agent::enrol(&world, "a").await.session().await;
    let begin = "UPDATE store.tier_mark SET sealed_until = t, closed_until = t, minutes_sealed = t,
                     minutes_until = t, minutes_packed = t, hours_until = t
                 FROM (SELECT date_trunc('hour', now()) - interval '5 hours' AS t) t";
    sqlx::query(begin).execute(&pool).await.unwrap();
    store.make_partitions(clock::now()).await.unwrap();
    let mut still = pool.begin().await.unwrap();
    sqlx::query("SELECT store.marks_for_writing()").execute(&mut *still).await.unwrap();

    let sealing = tokio::spawn({
        let store = store.clone();
        async move { store.maintain_tiers(clock::now(), &KEEP, 24).await }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'store.writer_lock'::regclass AND NOT granted";
    eventually("the sealing waits", async || (world.number(waits).await > 0).then_some(())).await;
    session.send(vec![report(1)]).await;
    assert_eq!(session.ack().await.seq, 1);
    let done = sealing.await.unwrap().unwrap();
    assert_eq!((done.minutes, done.hours), (0, 0), "it gave up");

    still.rollback().await.unwrap();
    let done = store.maintain_tiers(clock::now(), &KEEP, 24).await.unwrap();
    assert!(done.minutes > 0 && done.hours > 0, "{done:?}");
    world.stop().await;
}

/// Proves that the server ends a transaction of ours that nobody goes on with.
#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_transaction_ends() {
    let mut world = World::start().await;
    let embedded = world.app().database().embedded.as_ref().unwrap();
    let options = embedded.connect_options().application_name("abandoned");
    let store = store::Store::connect(options, 2).await.unwrap();
    let in_transaction = "SELECT count(*) FROM pg_stat_activity
                          WHERE application_name = 'abandoned' AND state = 'idle in transaction'";
    // Polled until it is in the middle of its work, then never again.
    let mut work = std::pin::pin!(store.maintain_partitions(clock::now() + DAY.times(20), &KEEP));
    loop {
        let step = std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx)));
        assert!(step.await.is_pending(), "it never paused in a transaction");
        if world.number(in_transaction).await == 1 {
            break;
        }
    }
    eventually("the server ends it", async || {
        (world.number(in_transaction).await == 0).then_some(())
    })
    .await;
    world.stop().await;
}

/// What was stored 40 days ago, when a collector last did its work here.
async fn aged(world: &World) -> PgPool {
    let pool = world.sql().await;
    let begin = "UPDATE store.tier_mark SET sealed_until = t, closed_until = t, minutes_sealed = t,
                     minutes_until = t, minutes_packed = t, hours_until = t
                 FROM (SELECT date_trunc('hour', now()) - interval '40 days' AS t) t;
                 UPDATE store.housekeeping SET time_known = now() - interval '40 days'";
    sqlx::raw_sql(begin).execute(&pool).await.unwrap();
    let old = clock::now() - DAY.times(40);
    world.app().store().make_partitions(old).await.unwrap();
    let block = "INSERT INTO store.sample_block
                 SELECT 1, t, 1, 1, t, t, 0, 0, 0, 0, 1, 0, 1, B''
                 FROM (SELECT date_trunc('hour', now()) - interval '40 days 2 hours' AS t) t";
    sqlx::query(block).execute(&pool).await.unwrap();
    pool
}

/// A host whose window and batch say that the collector's clock is so many seconds ahead.
async fn host_that_says(pool: &PgPool, name: &str, ahead_s: i64, simulated: bool) {
    let sql = format!(
        "INSERT INTO store.host (host_uuid, name, credential_hash, simulated)
         VALUES (gen_random_uuid(), '{name}', '{name}', {simulated});
         INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns,
             drift_limit_ppb, kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status,
             kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner,
             witness_lo_ns, witness_hi_ns, witness_at)
         SELECT host_id, now(), now(), 1, 0, 0, 7000000000 - 1000, 7000000000 + 1000, 50000, 0, 0, 0, 0, true, 37, 1,
                0, 2, 1, 1, w - 1000000, w + 1000000, now()
         FROM store.host, (SELECT 7000000000 - {ahead_s} * 1000000000::int8 AS w) w WHERE name = '{name}'"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// Proves that nothing is dropped and no hour closed by a clock that differs from the database's, that hosts call
/// wrong, or that leapt with nobody to confirm it, which `/readyz`, a metric and the log tell; and that both go on
/// when hosts that know the time, not simulated ones, confirm it.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_clock_drops_nothing() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    assert_eq!(store.doubt(clock::now).await.unwrap(), None, "of a new database");
    let pool = aged(&world).await;
    let (health, mut registry) = (Health::default(), Registry::default());
    let keep = world.app().config().retention.clone();
    let mut keeper = Housekeeper::new(store.clone(), keep, health.clone(), &mut registry);
    let kept = "SELECT (SELECT count(*) FROM store.sample_block)
                     + (SELECT count(*) FROM store.tier_mark WHERE minutes_until < now() - interval '39 days')";
    let trusted = |registry: &Registry| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.contains("clock_trusted 1")
    };

    keeper.round(|| clock::now() + MINUTE.times(3)).await;
    let missing = health.missing();
    assert!(missing.len() == 1 && missing[0].contains("ahead of the database"), "{missing:?}");
    keeper.round(|| clock::now() - DAY).await;
    assert!(health.missing()[0].contains("behind the database"), "{:?}", health.missing());
    assert_eq!(world.number(kept).await, 2);

    keeper.round(clock::now).await;
    assert!(health.missing().is_empty());
    let doubt = store.doubt(clock::now).await.unwrap();
    assert!(matches!(doubt, Some(Doubt::Unconfirmed(gap)) if gap > DAY.times(39)), "{doubt:?}");
    host_that_says(&pool, "dreamer", 0, true).await;
    host_that_says(&pool, "a", 40 * 86_400, false).await;
    keeper.round(clock::now).await;
    let doubt = store.doubt(clock::now).await.unwrap();
    let Some(Doubt::Hosts { error, hosts: 1 }) = doubt else { panic!("{doubt:?}") };
    assert!((error - DAY.times(40)).abs() < Span::SECOND, "{error}");
    // One against one confirms nothing.
    host_that_says(&pool, "b", 0, false).await;
    keeper.round(clock::now).await;
    let doubt = store.doubt(clock::now).await.unwrap();
    assert!(matches!(doubt, Some(Doubt::Unconfirmed(_))), "{doubt:?}");
    assert_eq!(world.number(kept).await, 2);
    assert!(!trusted(&registry));

    host_that_says(&pool, "c", -2, false).await;
    keeper.round(clock::now).await;
    assert!(trusted(&registry));
    let dropped = "SELECT count(*) FROM store.sample_block";
    store.maintain_partitions(clock::now(), &KEEP).await.unwrap();
    assert_eq!(world.number(dropped).await, 0);
    let went_on = "SELECT count(*) FROM store.tier_mark WHERE minutes_until > now() - interval '39 days 12 hours'";
    assert_eq!(world.number(went_on).await, 1);
    world.stop().await;
}

/// Proves that an operator may confirm the clock where no host can.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_confirms_the_clock() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    aged(&world).await;
    assert!(store.doubt(clock::now).await.unwrap().is_some());
    let done = world.command(&["db", "trust-clock"]).output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(store.doubt(clock::now).await.unwrap(), None);
    world.stop().await;
}

/// Proves that the seat is free as soon as the session that holds it has ended, whatever session has its number
/// then, and that the server ends one that stands still.
#[tokio::test(flavor = "multi_thread")]
async fn the_seat_is_the_session_that_holds_it() {
    let mut world = World::start().await;
    let (store, pool) = (world.app().store().clone(), world.sql().await);
    let seat = store.take_seat(clock::now()).await.unwrap().unwrap();
    assert!(store.take_seat(clock::now()).await.unwrap().is_none());
    // Gone without a word.
    let ended = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM store.seat) s";
    assert_eq!(world.number(ended).await, 1);
    let next =
        eventually("the seat is free", async || store.take_seat(clock::now()).await.unwrap()).await;
    drop(seat);
    assert!(store.take_seat(clock::now()).await.unwrap().is_none());
    next.leave().await.unwrap();
    // Another session that came to have the number of the last.
    let mut other = pool.acquire().await.unwrap();
    let number = "UPDATE store.seat SET pid = pg_backend_pid()";
    sqlx::query(number).execute(&mut *other).await.unwrap();
    let mut seat = store.take_seat(clock::now()).await.unwrap().unwrap();
    // One that stands still.
    seat.ends_when_idle(Duration::from_secs(1)).await.unwrap();
    eventually("the server ends it", async || store.take_seat(clock::now()).await.unwrap()).await;
    world.stop().await;
}

/// Proves that connections to a server which takes no writes, as after a failover, are given up and made anew until
/// one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_left() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let mut admin = world.sql().await.acquire().await.unwrap().detach();
    store.ping().await.unwrap();
    for (setting, takes) in [
        ("ALTER SYSTEM SET default_transaction_read_only = on", false),
        ("ALTER SYSTEM RESET default_transaction_read_only", true),
    ] {
        sqlx::query(setting).execute(&mut admin).await.unwrap();
        sqlx::query("SELECT pg_reload_conf()").execute(&mut admin).await.unwrap();
        eventually(setting, async || (store.ping().await.is_ok() == takes).then_some(())).await;
    }
    world.stop().await;
}
