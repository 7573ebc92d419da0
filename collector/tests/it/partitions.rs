use collector::clock;
use store::partitions::Maintained;
use timebase::Span;

use crate::support::{Agent, World, report};
use crate::tiers::KEEP;

const DAY: Span = Span::from_secs(86_400);

/// Proves that partitions reach from the oldest hour that is not sealed into the days to come, that a second
/// round makes none, that the oldest sample that ingest accepts is stored although its hour is long sealed, and
/// that what is beyond retention goes.
#[tokio::test(flavor = "multi_thread")]
async fn made_ahead_and_dropped_when_old() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let now = clock::now();
    let raw = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.sample'::regclass";
    let minutes =
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.minute_block'::regclass";
    // 2 hours back to a day ahead; 8 days back to 2 ahead.
    assert!((27..=28).contains(&world.number(raw).await), "{}", world.number(raw).await);
    assert!((11..=12).contains(&world.number(minutes).await), "{}", world.number(minutes).await);
    assert_eq!(store.maintain_partitions(now, &KEEP).await.unwrap(), Maintained::default());

    let mut session = Agent::enrol(&world, "a").await.session().await;
    // One that is old beyond measure: it is dated to the oldest moment that is accepted.
    let mut oldest = report(1);
    oldest.raw_ns = i64::MIN;
    session.send(vec![oldest, report(2)]).await;
    assert_eq!(session.ack().await.seq, 2);
    assert_eq!(world.number("SELECT count(*) FROM store.sample_late").await, 1);

    let blocks = "SELECT count(*) FROM store.sample_block";
    store.maintain_tiers(now + DAY, &KEEP, 48).await.unwrap();
    assert_eq!(world.number(blocks).await, 2);
    store.maintain_partitions(now + DAY.times(26), &KEEP).await.unwrap();
    assert_eq!(world.number(blocks).await, 1, "the oldest went");
    world.stop().await;
}

/// Proves that the writer makes partitions that are missing by itself, and stores what waited for them.
#[tokio::test(flavor = "multi_thread")]
async fn missing_ones_are_made_on_demand() {
    let mut world = World::start().await;
    let mut session = Agent::enrol(&world, "a").await.session().await;
    session.send(vec![report(1)]).await;
    session.ack().await;
    let drop_all = "DO $$ DECLARE day regclass; BEGIN
        FOR day IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'store.sample'::regclass LOOP
            EXECUTE 'DROP TABLE ' || day;
        END LOOP; END $$";
    sqlx::raw_sql(drop_all).execute(&world.sql().await).await.unwrap();
    let mut oldest = report(2);
    oldest.raw_ns = i64::MIN;
    session.send(vec![oldest, report(3)]).await;
    assert_eq!(session.ack().await.seq, 3);
    let both =
        "SELECT (SELECT count(*) FROM store.sample) + (SELECT count(*) FROM store.sample_late)";
    assert_eq!(world.number(both).await, 2);
    world.stop().await;
}

/// Proves that two collectors which maintain the same database at once do not get in each other's way.
#[tokio::test(flavor = "multi_thread")]
async fn two_collectors_at_once() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let later = clock::now() + DAY.times(40);
    let (a, b) = tokio::join!(
        store.maintain_partitions(later, &KEEP),
        store.maintain_partitions(later, &KEEP)
    );
    let made = (a.unwrap().made, b.unwrap().made);
    assert!(made.0.min(made.1) == 0 && made.0.max(made.1) > 20, "one of them makes all: {made:?}");
    world.stop().await;
}
