use collector::app::{App, Role, Roles};
use fleet_proto::pb;
use tempfile::TempDir;

use crate::support::{Agent, World, report};

/// Agents, and reports of each.
const AGENTS: u64 = 12;
const REPORTS: u64 = 300;

/// Small transactions, and no quota in the way.
pub(crate) const INGEST: &str =
    "[ingest]\nlinger = \"5 ms\"\nreports-per-second = 1000000\nburst = 1000000";

/// A second collector on the first one's database.
async fn beside(world: &World) -> (App, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = world.database_url().await;
    let mut config = world.config(&format!("[database]\nurl = \"{url}\"\n{INGEST}"));
    config.data_dir = Some(dir.path().to_owned());
    (App::start(config, Roles::only(&[Role::Ingest])).await.unwrap(), dir)
}

/// xorshift64*: what an agent does next follows from its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// Sends every report, in batches of random length, moving between the collectors at random: sometimes after an
/// answer, sometimes without waiting for those that are due, sometimes with both sessions open at once.
async fn wander(homes: [Agent; 2], seed: u64) {
    let mut dice = Dice(seed);
    let (mut sent, mut acknowledged) = (0, 0);
    let mut abandoned = None;
    while acknowledged < REPORTS {
        let mut session = homes[dice.below(2) as usize].session().await;
        let stored = session.last_seq.unwrap_or(0);
        assert!(
            stored >= acknowledged,
            "seed {seed}: {acknowledged} was acknowledged, not {stored}"
        );
        // An agent that lost the answer sends from its last acknowledgement, whatever the Welcome says.
        let mut next = if dice.below(2) == 0 { acknowledged } else { stored } + 1;
        let mut due = 0;
        for _ in 0..1 + dice.below(6) {
            let last = (next + dice.below(20)).min(REPORTS);
            if next > last {
                break;
            }
            session.send((next..=last).map(report).collect::<Vec<pb::Report>>()).await;
            (next, sent, due) = (last + 1, sent + last + 1 - next, due + 1);
        }
        let unread = dice.below(due + 1);
        for _ in unread..due {
            acknowledged = session.ack().await.seq;
        }
        // Whatever is still on its way races with the next session; the one before that is dropped here.
        abandoned = Some(session);
        if stored == REPORTS {
            acknowledged = REPORTS;
        }
    }
    drop(abandoned);
    assert!(sent >= REPORTS);
}

/// Proves that agents which move between two collectors on one database in the middle of their work have every
/// report stored once, and that no transaction of either waits for the other in vain.
#[tokio::test(flavor = "multi_thread")]
async fn agents_move_between_collectors() {
    move_between_collectors(World::start_with(INGEST).await).await;
}

/// Needs a world that was started with [`INGEST`].
pub(crate) async fn move_between_collectors(mut world: World) {
    let (second, _dir) = beside(&world).await;
    let mut wanderers = tokio::task::JoinSet::new();
    for seed in 1..=AGENTS {
        let here = Agent::enrol(&world, "wanderer").await;
        let there = here.clone().moved_to_address(second.grpc_address().unwrap());
        wanderers.spawn(wander([here, there], seed));
    }
    while let Some(ended) = wanderers.join_next().await {
        ended.unwrap();
    }
    second.stop().await;
    let expected = i64::try_from(AGENTS * REPORTS).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, expected);
    let distinct = "SELECT count(DISTINCT (host_id, boot_no, seq)) FROM store.sample";
    assert_eq!(world.number(distinct).await, expected);
    let newest = "SELECT count(*) FROM store.host_state WHERE seq = 300";
    assert_eq!(world.number(newest).await, i64::try_from(AGENTS).unwrap());
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(world.number(deadlocks).await, 0);
    world.stop().await;
}

/// Proves that the watermark of a boot stays one, wherever it is: remembered by the collector that took its
/// reports, in its host's newest state, and after the reboot in a row of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_ends_keeps_one_watermark() {
    let mut world = World::start_with(INGEST).await;
    let (second, _dir) = beside(&world).await;
    let agent = Agent::enrol(&world, "a").await;
    let reports = |seqs: std::ops::RangeInclusive<u64>| seqs.map(report).collect::<Vec<_>>();
    let old_boot = agent.boot.as_bytes().to_vec();
    let leftover = |seqs| pb::Batch {
        boot_id: old_boot.clone(),
        reports: reports(seqs),
        ..pb::Batch::default()
    };

    let mut before = agent.session().await;
    before.send(reports(1..=3)).await;
    assert_eq!(before.ack().await.seq, 3);
    before.send(reports(4..=5)).await;
    assert_eq!(before.ack().await.seq, 5, "moved on by what the first collector remembers");

    // The reboot: what was left of the old boot goes to the second collector.
    let mut rebooted = agent.clone();
    rebooted.boot = uuid::Uuid::new_v4();
    let mut after = rebooted.moved_to_address(second.grpc_address().unwrap()).session().await;
    after.send_batch(leftover(6..=8)).await;
    assert_eq!(after.ack().await.seq, 8);
    assert_eq!(world.number("SELECT seq FROM store.host_state").await, 8);
    // The old boot's session, against all odds, goes on at the first, which remembers 5.
    before.send(reports(6..=9)).await;
    assert_eq!(before.ack().await.seq, 9);

    // The new boot takes the host's row over.
    after.send(reports(1..=2)).await;
    assert_eq!(after.ack().await.seq, 2);
    before.send(reports(8..=10)).await;
    assert_eq!(before.ack().await.seq, 10);
    after.send_batch(leftover(9..=11)).await;
    assert_eq!(after.ack().await.seq, 11);
    after.send(reports(2..=3)).await;
    assert_eq!(after.ack().await.seq, 3);
    assert_eq!(agent.session().await.last_seq, Some(11), "of the old boot, by Welcome");

    let stored = "SELECT count(*) FROM store.sample";
    let distinct = "SELECT count(DISTINCT (host_id, boot_no, seq)) FROM store.sample";
    assert_eq!((world.number(stored).await, world.number(distinct).await), (14, 14));
    assert_eq!(world.number("SELECT seq FROM store.host_state").await, 3);
    second.stop().await;
    world.stop().await;
}
