//! Batches of reports into the tables, exactly once.
//!
//! Every `(host, boot)` has a watermark, the highest seq stored. It moves in the same transaction as the
//! samples, and whatever is not above it is a re-send: so agents may send a report as often as they like, over any
//! number of sessions to any number of collectors. The watermark of a host's newest boot is the row of its newest
//! state, others are in `store.boot`.
//!
//! A writer remembers the watermarks that it wrote. Where these are all it needs, it moves the hosts' rows from
//! there in one statement; if one of them is elsewhere by now, or none of this is known, all are locked first
//! and read. Rows are always taken in the order of hosts, so that two collectors cannot wait for each other.

mod epochs;
mod events;
mod latest;
mod memory;
mod numbers;
mod refusals;
mod samples;
mod sources;
mod state_row;
mod watermark;

use std::collections::BTreeMap;

use sqlx::{PgConnection, Postgres, Transaction};
use timebase::{BootId, Bounds, Report, Seq, Timestamp, Utc};

use crate::Store;
use crate::listen::{CHANNEL, Change};

use watermark::Marks;

pub use memory::Memory;
pub use numbers::{
    authentication_number, discipliner_number, leap_number, stamps_number, state_number,
};
pub use refusals::RefusalCount;

/// Reports of one boot of one host, checked, in order of seq.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The host's key.
    pub host: i64,
    /// The boot they were made in.
    pub boot: BootId,
    /// Whether that boot still runs: reports of an older one say nothing of how the host is.
    pub current: bool,
    /// When the batch came in.
    pub received_at: Timestamp<Utc>,
    /// The reports.
    pub reports: Vec<Dated>,
    /// Host clock − collector clock, by the batch's own stamps.
    pub witness: Option<Bounds>,
}

/// A report with the collector's own time for it.
#[derive(Clone, Debug)]
pub struct Dated {
    /// When it was made, on the collector's clock.
    pub ref_time: Timestamp<Utc>,
    /// Whether its age says so; otherwise nothing may follow from `ref_time`.
    pub by_age: bool,
    /// What the agent reported. Its sources are needed of the newest report of a batch alone.
    pub report: Report,
    /// How many of its sources take part.
    pub sources_used: usize,
}

/// What became of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Highest seq of the batch's boot now stored.
    pub last_seq: Seq,
    /// Reports stored from this batch.
    pub rows: usize,
    /// Reports that had been stored before.
    pub duplicates: usize,
}

/// A report that is stored now, with its batch.
#[derive(Clone, Copy)]
struct Fresh<'a> {
    batch: &'a Batch,
    boot_no: i32,
    dated: &'a Dated,
}

impl Fresh<'_> {
    /// As the columns hold it.
    fn seq(&self) -> i64 {
        i64::try_from(self.dated.report.seq.0).unwrap_or(i64::MAX)
    }
}

/// Of a set of batches, what is new, and the answers if that is stored.
struct Sifted<'a> {
    stored: Vec<Stored>,
    fresh: Vec<Fresh<'a>>,
    /// The first samples of clock epochs.
    epochs: Vec<Fresh<'a>>,
}

/// What goes along with a set of batches.
struct Beside<'a> {
    refusals: &'a [RefusalCount],
    announce: bool,
}

impl Store {
    /// Stores the batches and adds up the refusals, in one transaction; the answers are in the order of
    /// the batches. With `announce`, listeners hear of it at commit. Whoever writes these hosts keeps the
    /// `memory` for the next call.
    ///
    /// # Errors
    /// The database does not answer or refuses: nothing is stored then, and the same call may be made
    /// again.
    pub async fn store_batches(
        &self,
        memory: &mut Memory,
        batches: &[Batch],
        refusals: &[RefusalCount],
        announce: bool,
    ) -> Result<Vec<Stored>, sqlx::Error> {
        let beside = Beside { refusals, announce };
        if let Some(stored) = self.store_expected(memory, batches, &beside).await? {
            return Ok(stored);
        }
        let mut tx = self.begin_writing().await?;
        memory.learn(&mut tx).await?;
        let mut marks = watermark::lock(&mut tx, batches).await?;
        let sifted = sift(batches, &mut marks);
        watermark::advance(&mut tx, &marks).await?;
        let newest = latest::newest(&sifted.fresh);
        let mut contacts = latest::contacts(batches);
        let rows = latest::rows(&newest, &contacts, &marks);
        let updated = latest::upsert(&mut tx, &rows).await?;
        contacts.retain(|host, _| !updated.contains(host));
        latest::touch(&mut tx, &contacts).await?;
        latest::follow(&mut tx, &marks, &sifted.fresh).await?;
        let (written, outdated): (BTreeMap<_, _>, BTreeMap<_, _>) =
            newest.into_iter().partition(|(host, _)| updated.contains(host));
        // Another collector knows more of these.
        memory.forget(outdated.keys());
        finish(tx, memory, &marks, &sifted, &written, &beside).await?;
        Ok(sifted.stored)
    }

    /// [`Store::store_batches`] where every batch has something new and every host is as the memory has it;
    /// otherwise nothing happens: `None`.
    async fn store_expected(
        &self,
        memory: &mut Memory,
        batches: &[Batch],
        beside: &Beside<'_>,
    ) -> Result<Option<Vec<Stored>>, sqlx::Error> {
        let Some(mut marks) = memory.expected(batches) else { return Ok(None) };
        let sifted = sift(batches, &mut marks);
        if sifted.stored.iter().any(|stored| stored.rows == 0) {
            return Ok(None);
        }
        let newest = latest::newest(&sifted.fresh);
        let rows = latest::rows(&newest, &latest::contacts(batches), &marks);
        let mut tx = self.begin_writing().await?;
        if latest::advance(&mut tx, &rows).await? != rows.len() as u64 {
            tx.rollback().await?;
            return Ok(None);
        }
        finish(tx, memory, &marks, &sifted, &newest, beside).await?;
        Ok(Some(sifted.stored))
    }

    async fn begin_writing(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        plan_by_key(&mut tx).await?;
        Ok(tx)
    }
}

/// Moves the marks over what is new.
fn sift<'a>(batches: &'a [Batch], marks: &mut Marks) -> Sifted<'a> {
    let mut sifted =
        Sifted { stored: Vec::with_capacity(batches.len()), fresh: Vec::new(), epochs: Vec::new() };
    for batch in batches {
        let mark = marks.entry(batch);
        let before = sifted.fresh.len();
        for dated in &batch.reports {
            if mark.advance(dated.report.seq) {
                let sample = Fresh { batch, boot_no: mark.boot_no, dated };
                sifted.fresh.push(sample);
                if mark.begins_epoch(samples::steps(&dated.report)) {
                    sifted.epochs.push(sample);
                }
            }
        }
        let rows = sifted.fresh.len() - before;
        let duplicates = batch.reports.len() - rows;
        sifted.stored.push(Stored { last_seq: mark.last_seq(), rows, duplicates });
    }
    sifted.epochs.sort_by_key(|f| (f.batch.host, f.boot_no, f.dated.report.seq));
    // By host: neighbouring rows share index pages.
    sifted.fresh.sort_by_key(|f| (f.batch.host, f.dated.ref_time, f.boot_no, f.dated.report.seq));
    sifted
}

/// All that belongs to hosts whose watermarks have been moved; `written` are those whose newest state was
/// rewritten, with the sample that it is from.
async fn finish(
    mut tx: Transaction<'_, Postgres>,
    memory: &mut Memory,
    marks: &Marks,
    sifted: &Sifted<'_>,
    written: &BTreeMap<i64, &Fresh<'_>>,
    beside: &Beside<'_>,
) -> Result<(), sqlx::Error> {
    samples::store(&mut tx, &sifted.fresh).await?;
    epochs::insert(&mut tx, &sifted.epochs).await?;
    epochs::reach_back(&mut tx, &sifted.fresh).await?;
    let remembered = sources::write(&mut tx, memory, marks, written).await?;
    events::insert(&mut tx, &sifted.fresh).await?;
    refusals::add(&mut tx, beside.refusals).await?;
    if beside.announce {
        notify(&mut *tx).await?;
    }
    tx.commit().await?;
    memory.update(remembered);
    Ok(())
}

/// Rows are found by their keys, in the order of the keys: whatever the statistics say, which know nothing
/// of a table that has just been filled, and so that two collectors lock in one order. What is switched off has a cost
/// at which Postgres would compile a statement for longer than it runs.
async fn plan_by_key(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT set_config(name, 'off', true)
         FROM unnest('{enable_hashjoin, enable_mergejoin, enable_seqscan, jit}'::text[]) AS name"
    )
    .fetch_all(connection)
    .await
    .map(drop)
}

async fn notify(executor: impl sqlx::PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, Change::Samples.word())
        .execute(executor)
        .await
        .map(drop)
}
