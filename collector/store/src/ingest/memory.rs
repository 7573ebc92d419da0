use std::collections::HashMap;

use sqlx::PgConnection;
use timebase::{BootId, Timestamp, Utc};

use super::Batch;
use super::watermark::{Mark, Marks};

/// Most sources remembered; beyond, half of the hosts are forgotten. About 50 MB, a host taking 150 bytes with
/// three.
const MOST_SOURCES: usize = 1 << 20;

/// What a writer remembers of the hosts it wrote, so that it need not lock and read, nor write again, what the
/// database has. Only a saving: whatever is forgotten is asked for, and written once more.
#[derive(Debug, Default)]
pub struct Memory {
    hosts: HashMap<i64, Remembered>,
    sources: usize,
    /// Whether the database is one whose rows can be moved by what is remembered of them; `None`: not asked yet.
    plain: Option<bool>,
}

/// One host: its newest state is this boot's, with this watermark.
#[derive(Debug)]
pub(super) struct Remembered {
    boot: BootId,
    boot_no: i32,
    last: i64,
    steps: Option<i32>,
    /// The rows of its sources.
    sources: Box<[Written]>,
}

/// A row of `store.source_state`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Of what matters in it.
    pub(super) digest: u64,
    /// The time its numbers are of.
    pub(super) seen_at: Timestamp<Utc>,
}

impl Remembered {
    /// What stands once the report is committed.
    pub(super) fn new(boot: BootId, mark: &Mark, sources: Box<[Written]>) -> Self {
        let Mark { boot_no, last, steps, .. } = *mark;
        Self { boot, boot_no, last, steps, sources }
    }
}

impl Memory {
    /// Asks once what database this is: Citus would have every shard read all rows.
    pub(super) async fn learn(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.plain.is_none() {
            let plain = sqlx::query_scalar!(r#"SELECT NOT store.on_citus() AS "plain!""#);
            self.plain = Some(plain.fetch_one(connection).await?);
        }
        Ok(())
    }

    /// Whether the batch comes after what is remembered of its host. Such batches are cheap to store, unless one of
    /// another kind is among them.
    pub fn expects(&self, batch: &Batch) -> bool {
        self.before(batch).is_some()
    }

    fn before(&self, batch: &Batch) -> Option<&Remembered> {
        let known = self.hosts.get(&batch.host)?;
        (self.plain == Some(true) && batch.current && known.boot == batch.boot).then_some(known)
    }

    /// The watermarks that these batches are likely to find; `None`: not all of them are known.
    pub(super) fn expected(&self, batches: &[Batch]) -> Option<Marks> {
        if batches.is_empty() {
            return None;
        }
        let mut marks = Marks::default();
        for batch in batches {
            let known = self.before(batch)?;
            marks.expect(batch, Mark::found(known.boot_no, known.last, known.steps));
        }
        Some(marks)
    }

    /// The rows of the host's sources, unless another collector has written the host since: then its
    /// watermark has moved.
    pub(super) fn of(&self, host: i64, found: &Mark) -> Option<&[Written]> {
        let known = self.hosts.get(&host)?;
        let same = known.boot_no == found.boot_no && known.last == found.before;
        same.then_some(&known.sources[..])
    }

    /// Takes in what was committed.
    pub(super) fn update(&mut self, committed: Vec<(i64, Remembered)>) {
        for (host, known) in committed {
            self.sources += known.sources.len();
            if let Some(before) = self.hosts.insert(host, known) {
                self.sources -= before.sources.len();
            }
        }
        if self.sources > MOST_SOURCES {
            // Any half: the hosts that are still there come again soon.
            let mut every_other = false;
            self.hosts.retain(|_, _| {
                every_other = !every_other;
                every_other
            });
            self.sources = self.hosts.values().map(|known| known.sources.len()).sum();
        }
    }

    /// Knows nothing of these any more.
    pub(super) fn forget<'a>(&mut self, hosts: impl Iterator<Item = &'a i64>) {
        for host in hosts {
            if let Some(before) = self.hosts.remove(host) {
                self.sources -= before.sources.len();
            }
        }
    }
}
