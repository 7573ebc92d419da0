use collector::clock;
use store::partitions::Maintained;
use timebase::Span;

use crate::support::{Agent, World, report};

const DAY: Span = Span::from_secs(86_400);
const KEEP: Span = DAY.times(30);

/// Proves that partitions reach from the oldest sample that ingest accepts into the days to come, that a
/// second round makes none, and that those beyond retention go, with their samples.
#[tokio::test(flavor = "multi_thread")]
async fn made_ahead_and_dropped_when_old() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let now = clock::now();
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.sample'::regclass";
    assert_eq!(world.number(partitions).await, 11, "made at start: 8 days back to 2 ahead");
    assert_eq!(store.maintain_partitions(now, KEEP).await.unwrap(), Maintained::default());

    let mut session = Agent::enrol(&world, "a").await.session().await;
    // One that is old beyond measure: it is dated to the oldest moment that has a partition.
    let mut oldest = report(1);
    oldest.raw_ns = i64::MIN;
    session.send(vec![oldest, report(2)]).await;
    assert_eq!(session.ack().await.seq, 2);

    let done = store.maintain_partitions(now + DAY, KEEP).await.unwrap();
    assert_eq!(done, Maintained { made: 1, dropped: 0 });
    let done = store.maintain_partitions(now + DAY.times(26), KEEP).await.unwrap();
    assert!(done.dropped >= 3, "{done:?}");
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, 1, "the oldest went");
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
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, 2);
    world.stop().await;
}

/// Proves that two collectors which maintain the same database at once do not get in each other's way.
#[tokio::test(flavor = "multi_thread")]
async fn two_collectors_at_once() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let later = clock::now() + DAY.times(40);
    let (a, b) = tokio::join!(
        store.maintain_partitions(later, KEEP),
        store.maintain_partitions(later, KEEP)
    );
    assert_eq!(a.unwrap().made + b.unwrap().made, 11);
    world.stop().await;
}
