use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use timebase::{BootId, Seq};
use uuid::Uuid;

use super::Batch;

/// The watermark of one boot.
#[derive(Debug)]
pub(super) struct Mark {
    /// The boot's number among those of its host.
    pub(super) boot_no: i32,
    /// As it was found.
    pub(super) before: i64,
    /// As it is to be.
    pub(super) last: i64,
    /// Steps of the clock by then: with the boot, the clock epoch.
    pub(super) steps: Option<i32>,
}

impl Mark {
    /// Whether `seq` is new; then it is the watermark from here on.
    pub(super) fn advance(&mut self, seq: Seq) -> bool {
        match i64::try_from(seq.0) {
            Ok(seq) if seq > self.last => {
                self.last = seq;
                true
            }
            _ => false,
        }
    }

    /// Whether a sample that is new has other steps than the one before: it is its epoch's first.
    pub(super) fn begins_epoch(&mut self, steps: i32) -> bool {
        self.steps.replace(steps) != Some(steps)
    }

    pub(super) fn found(boot_no: i32, last: i64, steps: Option<i32>) -> Self {
        Self { boot_no, before: last, last, steps }
    }

    pub(super) fn last_seq(&self) -> Seq {
        Seq(self.last.unsigned_abs())
    }
}

/// Every watermark that a set of batches touches: locked, or expected.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<(i64, BootId), Mark>);

impl Marks {
    /// Unless it is there already: two batches of a boot share it.
    pub(super) fn expect(&mut self, batch: &Batch, mark: Mark) {
        self.0.entry((batch.host, batch.boot)).or_insert(mark);
    }

    pub(super) fn of(&self, batch: &Batch) -> &Mark {
        &self.0[&(batch.host, batch.boot)]
    }

    pub(super) fn entry(&mut self, batch: &Batch) -> &mut Mark {
        self.0
            .get_mut(&(batch.host, batch.boot))
            .expect("invariant: every boot of the batches has a mark")
    }
}

/// Locks the boots that are known, in the order of hosts, then makes the others.
pub(super) async fn lock(
    connection: &mut PgConnection,
    batches: &[Batch],
) -> Result<Marks, sqlx::Error> {
    let wanted: BTreeSet<_> = batches.iter().map(|batch| (batch.host, batch.boot)).collect();
    let hosts: Vec<i64> = wanted.iter().map(|(host, _)| *host).collect();
    let boots: Vec<Uuid> = wanted.iter().map(|(_, boot)| uuid(*boot)).collect();
    let rows = sqlx::query!(
        r#"SELECT host_id AS "host_id!", boot_id AS "boot_id!", boot_no AS "boot_no!",
                  last_seq AS "last_seq!", steps
           FROM store.watermarks_for_writing($1, $2)"#,
        &hosts,
        &boots
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut marks = Marks::default();
    for row in rows {
        let key = (row.host_id, BootId::from_bytes(row.boot_id.into_bytes()));
        marks.0.insert(key, Mark::found(row.boot_no, row.last_seq, row.steps));
    }
    for (host, boot) in wanted {
        if let Entry::Vacant(vacant) = marks.0.entry((host, boot)) {
            vacant.insert(make(connection, host, boot).await?);
        }
    }
    Ok(marks)
}

/// A boot met for the first time; the host's row is locked, so that only one collector numbers it.
async fn make(connection: &mut PgConnection, host: i64, boot: BootId) -> Result<Mark, sqlx::Error> {
    sqlx::query!("SELECT boots FROM store.host WHERE host_id = $1 FOR NO KEY UPDATE", host)
        .fetch_one(&mut *connection)
        .await?;
    // Another collector may have made it while we waited for the lock.
    let there = sqlx::query!(
        "SELECT boot_no, last_seq, steps FROM store.boot WHERE host_id = $1 AND boot_id = $2
         FOR NO KEY UPDATE",
        host,
        uuid(boot)
    );
    if let Some(row) = there.fetch_optional(&mut *connection).await? {
        return Ok(Mark::found(row.boot_no, row.last_seq, row.steps));
    }
    let boot_no = sqlx::query_scalar!(
        "UPDATE store.host SET boots = boots + 1 WHERE host_id = $1 RETURNING boots",
        host
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO store.boot (host_id, boot_id, boot_no, last_seq) VALUES ($1, $2, $3, 0)",
        host,
        uuid(boot),
        boot_no
    )
    .execute(connection)
    .await?;
    Ok(Mark::found(boot_no, 0, None))
}

/// Writes the watermarks that moved.
pub(super) async fn advance(
    connection: &mut PgConnection,
    marks: &Marks,
) -> Result<(), sqlx::Error> {
    let moved: Vec<_> = marks.0.iter().filter(|(_, mark)| mark.last > mark.before).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let hosts: Vec<i64> = moved.iter().map(|((host, _), _)| *host).collect();
    let boots: Vec<Uuid> = moved.iter().map(|((_, boot), _)| uuid(*boot)).collect();
    let last: Vec<i64> = moved.iter().map(|(_, mark)| mark.last).collect();
    let steps: Vec<Option<i32>> = moved.iter().map(|(_, mark)| mark.steps).collect();
    sqlx::query!(
        "UPDATE store.boot b SET last_seq = k.last_seq, steps = k.steps
         FROM unnest($1::int8[], $2::uuid[], $3::int8[], $4::int4[])
              AS k(host_id, boot_id, last_seq, steps)
         WHERE b.host_id = k.host_id AND b.boot_id = k.boot_id",
        &hosts,
        &boots,
        &last,
        &steps as &[Option<i32>]
    )
    .execute(connection)
    .await
    .map(drop)
}

fn uuid(boot: BootId) -> Uuid {
    Uuid::from_bytes(*boot.as_bytes())
}
