//! Batches of reports into the tables, exactly once.
//!
//! Every `(host, boot)` has a watermark, the highest seq stored. It is locked first, moved in the same
//! transaction as the samples, and whatever is not above it is a re-send: so agents may send a report as
//! often as they like, over any number of sessions to any number of collectors. Rows are always taken
//! in the order of hosts, so that two collectors cannot wait for each other.

mod epochs;
mod events;
mod latest;
mod memory;
mod numbers;
mod refusals;
mod samples;
mod sources;
mod watermark;

use sqlx::PgConnection;
use timebase::{BootId, Bounds, Report, Seq, Timestamp, Utc};

use crate::Store;
use crate::listen::{CHANNEL, Change};

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
    /// What the agent reported.
    pub report: Report,
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
        let mut tx = self.pool.begin().await?;
        plan_by_key(&mut tx).await?;
        let mut marks = watermark::lock(&mut tx, batches).await?;
        let mut stored = Vec::with_capacity(batches.len());
        let mut fresh: Vec<Fresh<'_>> = Vec::new();
        let mut epochs: Vec<Fresh<'_>> = Vec::new();
        for batch in batches {
            let mark = marks.entry(batch);
            let before = fresh.len();
            for dated in &batch.reports {
                if mark.advance(dated.report.seq) {
                    let sample = Fresh { batch, boot_no: mark.boot_no, dated };
                    fresh.push(sample);
                    if mark.begins_epoch(samples::steps(&dated.report)) {
                        epochs.push(sample);
                    }
                }
            }
            let rows = fresh.len() - before;
            let duplicates = batch.reports.len() - rows;
            stored.push(Stored { last_seq: mark.last_seq(), rows, duplicates });
        }
        epochs.sort_by_key(|f| (f.batch.host, f.boot_no, f.dated.report.seq));
        // By host: neighbouring rows share index pages.
        fresh.sort_by_key(|f| (f.batch.host, f.dated.ref_time, f.boot_no, f.dated.report.seq));
        watermark::advance(&mut tx, &marks).await?;
        samples::store(&mut tx, &fresh).await?;
        epochs::insert(&mut tx, &epochs).await?;
        let remembered = latest::write(&mut tx, memory, &marks, batches, &fresh).await?;
        events::insert(&mut tx, &fresh).await?;
        refusals::add(&mut tx, refusals).await?;
        if announce {
            notify(&mut *tx).await?;
        }
        tx.commit().await?;
        memory.update(remembered);
        Ok(stored)
    }
}

/// Rows are found by their keys, in the order of the keys: whatever the statistics say, which know nothing
/// of a table that has just been filled, and so that two collectors lock in one order.
async fn plan_by_key(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT set_config(name, 'off', true)
         FROM unnest('{enable_hashjoin, enable_mergejoin, enable_seqscan}'::text[]) AS name"
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
