use fleet_proto::pb;

use crate::support::{Agent, World, report};

const EPOCHS: &str = "SELECT coalesce(string_agg(concat_ws(' ', boot_no, steps, first_seq), ', '
                             ORDER BY boot_no, steps), '') FROM store.epoch";

/// Proves that a clock epoch is noted with its first sample, once, over batches, sessions and boots; and that it is
/// forgotten only when it ended before all that is kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_begins_with_its_first_sample() {
    let mut world = World::start().await;
    let mut agent = Agent::enrol(&world, "a").await;
    let at = |seq, steps| pb::Report { steps, ..report(seq) };
    let mut session = agent.session().await;
    session.send(vec![at(1, 0), at(2, 0), at(3, 1)]).await;
    session.ack().await;
    session.send(vec![at(3, 1), at(4, 1), at(5, 1), at(6, 3)]).await;
    session.ack().await;
    assert_eq!(world.text(EPOCHS).await, "1 0 1, 1 1 3, 1 3 6");
    let mut session = agent.session().await;
    session.send(vec![at(7, 3)]).await;
    session.ack().await;
    agent.boot = uuid::Uuid::new_v4();
    let mut session = agent.session().await;
    session.send(vec![at(1, 3)]).await;
    session.ack().await;
    assert_eq!(world.text(EPOCHS).await, "1 0 1, 1 1 3, 1 3 6, 2 3 1");

    // An earlier boot that was filed by a clock that was ahead is over all the same.
    let later = "UPDATE store.epoch SET first_ref_time = first_ref_time + interval '30 min' WHERE boot_no = 1";
    sqlx::query(later).execute(&world.sql().await).await.unwrap();

    let (store, hour) = (world.app().store().clone(), timebase::Span::from_secs(3_600));
    let now = collector::clock::now();
    assert_eq!(store.prune_epochs(now, hour).await.unwrap(), 0);
    assert_eq!(store.prune_epochs(now + hour.times(2), hour).await.unwrap(), 3);
    assert_eq!(world.text(EPOCHS).await, "2 3 1", "it goes on");
    world.stop().await;
}

/// Proves that it is noted which dates follow from ages, and how far back samples are filed that have none: what
/// is left of a boot that has ended is filed by its clock, which may be hours off.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_noted_how_samples_are_dated() {
    let mut world = World::start().await;
    let mut agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    session.send(vec![report(1)]).await;
    session.ack().await;
    let ended = agent.boot.as_bytes().to_vec();
    agent.boot = uuid::Uuid::new_v4();
    let mut session = agent.session().await;
    let realtime_ns = collector::clock::now().as_ns() - 3 * 3_600_000_000_000;
    let left = |seq, steps| pb::Report { steps, realtime_ns, bounds: None, ..report(seq) };
    let reports = vec![left(2, 0), left(3, 0), left(4, 1)];
    session.send_batch(pb::Batch { boot_id: ended, reports, ..pb::Batch::default() }).await;
    session.ack().await;
    session.send(vec![report(1)]).await;
    session.ack().await;
    let dated = "SELECT string_agg(concat_ws(' ', boot_no, steps, by_age,
                     round(extract(epoch FROM first_ref_time - filed_since) / 3600)), ', ' ORDER BY boot_no, steps)
                 FROM store.epoch";
    assert_eq!(world.text(dated).await, "1 0 t 3, 1 1 f 0, 2 0 t 0");
    world.stop().await;
}
