use fleet_proto::pb;
use store::Store;
use store::ingest::{Batch, Dated, Memory};
use timebase::{BootId, Report, Span, Timestamp, Utc};

use crate::support::{Agent, World, report};

/// Two collectors' writers and one host of theirs.
struct Fleet {
    store: Store,
    host: i64,
    start: Timestamp<Utc>,
    seq: u64,
}

impl Fleet {
    /// The host's next report, so long after the first, with sources that have accepted so many answers.
    async fn report(&mut self, memory: &mut Memory, after: Span, accepted: &[u64]) {
        self.seq += 1;
        let aged = 1_000 + i64::try_from(self.seq).unwrap();
        let source = |&accepted: &u64| pb::Source {
            accepted,
            bounds: Some(pb::Bounds { lo_ns: -aged, hi_ns: aged }),
            ..report(1).sources.remove(0)
        };
        let sources = accepted.iter().map(source).collect();
        let wire = pb::Report { sources, ..report(self.seq) };
        let ref_time = self.start + after;
        let batch = Batch {
            host: self.host,
            boot: BootId::from_bytes([7; 16]),
            current: true,
            received_at: ref_time,
            reports: vec![Dated {
                ref_time,
                by_age: true,
                report: Report::try_from(wire).unwrap(),
                sources_used: accepted.len(),
            }],
            witness: None,
        };
        let stored = self.store.store_batches(memory, &[batch], &[], false).await.unwrap();
        assert_eq!(stored[0].rows, 1);
    }
}

/// Which report each of the sources was last written by, with what it had accepted.
async fn rows(world: &World) -> Vec<(i64, i64)> {
    sqlx::query_as("SELECT hi_ns - 1000, accepted FROM store.source_state ORDER BY position")
        .fetch_all(&world.sql().await)
        .await
        .unwrap()
}

/// Proves that the row of a source is rewritten when the source answered, when it is old and when another
/// collector wrote it, not because its bounds aged; and that a source which is gone has none.
#[tokio::test(flavor = "multi_thread")]
async fn sources_are_rewritten_when_they_changed() {
    let mut world = World::start().await;
    Agent::enrol(&world, "a").await;
    let host = world.number("SELECT host_id FROM store.host").await;
    let store = world.app().store().clone();
    let mut fleet = Fleet { store, host, start: collector::clock::now(), seq: 0 };
    let (mut here, mut there) = (Memory::default(), Memory::default());
    let seconds = Span::from_secs;

    fleet.report(&mut here, seconds(-900), &[5, 5]).await;
    assert_eq!(rows(&world).await, [(1, 5), (1, 5)], "new");
    fleet.report(&mut here, seconds(-890), &[5, 5]).await;
    assert_eq!(rows(&world).await, [(1, 5), (1, 5)], "no answer came");
    fleet.report(&mut here, seconds(-880), &[5, 6]).await;
    assert_eq!(rows(&world).await, [(1, 5), (3, 6)], "the second answered");
    fleet.report(&mut there, seconds(-870), &[7, 6]).await;
    assert_eq!(rows(&world).await, [(4, 7), (4, 6)], "another collector wrote");
    fleet.report(&mut here, seconds(-860), &[5, 6]).await;
    assert_eq!(rows(&world).await, [(5, 5), (5, 6)], "what is remembered does not hold any more");
    fleet.report(&mut here, seconds(-560), &[5, 6]).await;
    assert_eq!(rows(&world).await, [(6, 5), (6, 6)], "old");
    fleet.report(&mut here, seconds(-550), &[5]).await;
    assert_eq!(rows(&world).await, [(6, 5)], "the second is gone");
    let seen =
        "SELECT (extract(epoch FROM (SELECT ref_time FROM store.host_state) - seen_at))::int8
                FROM store.source_state";
    assert_eq!(world.number(seen).await, 10, "seen_at is the time of its numbers");
    world.stop().await;
}
