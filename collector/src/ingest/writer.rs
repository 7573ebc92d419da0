//! The writers: batches of many sessions, gathered for a moment, in one transaction.
//!
//! Every host belongs to one of them, by its key: so no two of this process wait for each other's rows, and
//! each may remember what it wrote.

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use store::ingest::{Batch, Memory, RefusalCount, Stored};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::refusals::Refusals;
use super::{Metrics, batch};
use crate::clock;

/// Most bytes, as received, of batches that wait or are being written, of all writers together. In memory
/// they take about three times as much.
pub(super) const QUEUE_BYTES: usize = 64 << 20;
/// The queue counts in units of so many bytes, a semaphore having few permits.
const ROOM_UNIT: usize = 1 << 10;
/// Most batches that wait for one writer: more than hosts report within one linger.
const QUEUE_BATCHES: usize = 8_192;
/// Where so many reports wait, a transaction is cheap enough to begin at once.
const ENOUGH_REPORTS: usize = 2_000;
/// Listeners hear of new samples at most so often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failure doubles from the first to the last of these.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// What became of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Committed.
    Stored(Stored),
    /// The database refuses it, alone, and always will.
    Unstorable,
}

/// A batch on its way into the database.
#[derive(Debug)]
pub(super) struct Job {
    batch: Batch,
    reply: oneshot::Sender<Outcome>,
    room: OwnedSemaphorePermit,
}

/// The bounded ways to the writers.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    jobs: Arc<[mpsc::Sender<Job>]>,
    room: Arc<Semaphore>,
    metrics: Metrics,
}

impl Queues {
    /// One for each writer.
    pub(super) fn new(writers: usize, metrics: Metrics) -> (Self, Vec<mpsc::Receiver<Job>>) {
        let (jobs, taken): (Vec<_>, _) = (0..writers).map(|_| mpsc::channel(QUEUE_BATCHES)).unzip();
        let jobs = jobs.into();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES / ROOM_UNIT));
        (Self { jobs, room, metrics }, taken)
    }

    /// Waits for room; the receiver tells what became of the batch, or is closed if the writer gave up.
    pub(super) async fn put(&self, batch: Batch, bytes: usize) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        let units = bytes.clamp(1, QUEUE_BYTES).div_ceil(ROOM_UNIT) as u32;
        let room = self.room.clone().acquire_many_owned(units).await;
        let room = room.expect("invariant: the queue's semaphore is never closed");
        let free = self.room.available_permits() * ROOM_UNIT;
        self.metrics.queued_bytes.set((QUEUE_BYTES - free) as i64);
        let writer = &self.jobs[writer_of(batch.host, self.jobs.len())];
        // A writer that is gone drops the job, and with it `reply`.
        let _ = writer.send(Job { batch, reply, room }).await;
        outcome
    }
}

/// The same in every process with as many writers: keys are numbered one after the other.
fn writer_of(host: i64, writers: usize) -> usize {
    host.rem_euclid(writers as i64) as usize
}

/// Takes all that waits, writes it in one transaction, answers.
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) memory: Memory,
    pub(super) linger: Duration,
    pub(super) refusals: Refusals,
    pub(super) metrics: Metrics,
    /// Cancelled: no session is left, so nothing comes after what waits.
    pub(super) finish: CancellationToken,
    /// Cancelled: no more tries; what is not committed stays with the agents.
    pub(super) give_up: CancellationToken,
}

/// When listeners last heard, and whether they have yet to hear.
struct Announcements {
    last: Option<Instant>,
    due: bool,
}

impl Writer {
    /// Runs until `finish`, then answers what waits.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut tick = tokio::time::interval(ANNOUNCE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut announcements = Announcements { last: None, due: false };
        loop {
            let mut taken = Vec::new();
            tokio::select! {
                n = jobs.recv_many(&mut taken, QUEUE_BATCHES) => if n == 0 { break },
                // Not by dropping the senders: a connection that says nothing keeps one.
                () = self.finish.cancelled(), if !jobs.is_closed() => {
                    jobs.close();
                    continue;
                }
                _ = tick.tick() => {}
            }
            if taken.is_empty() {
                self.write_remainder(&mut announcements).await;
                continue;
            }
            self.gather(&mut jobs, &mut taken).await;
            self.write(taken, &mut announcements).await;
        }
        announcements.last = None;
        self.write_remainder(&mut announcements).await;
    }

    /// Waits a little for more: a transaction costs the same for one report as for a hundred.
    async fn gather(&self, jobs: &mut mpsc::Receiver<Job>, taken: &mut Vec<Job>) {
        let deadline = Instant::now() + self.linger;
        while reports(taken) < ENOUGH_REPORTS {
            let more = jobs.recv_many(taken, QUEUE_BATCHES);
            if matches!(tokio::time::timeout_at(deadline, more).await, Ok(0) | Err(_)) {
                return;
            }
        }
    }

    /// Refusals and an announcement that no batch carried along. Tried once: the next tick comes.
    async fn write_remainder(&mut self, announcements: &mut Announcements) {
        let announce = announcements.due && announcements.may();
        if self.refusals.is_empty() && !announce {
            return;
        }
        match self.store(&[], announce).await {
            Ok(_) if announce => announcements.made(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "refusals could not be written yet"),
        }
    }

    /// Writes until it succeeds; a batch that the database refuses for itself is set apart. Hosts that are new here
    /// have a transaction of their own, for those that are known are cheaper without them.
    async fn write(&mut self, jobs: Vec<Job>, announcements: &mut Announcements) {
        let (known, others): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| self.memory.expects(&job.batch));
        let mut parts = vec![others, known];
        parts.retain(|part| !part.is_empty());
        let mut pause = FIRST_PAUSE;
        while let Some(part) = parts.pop() {
            let (batches, waiting) = split(part);
            let error = match self.try_write(&batches, announcements).await {
                Ok(stored) => {
                    for ((reply, _room), stored) in waiting.into_iter().zip(stored) {
                        // A session that is gone asks again when it is back.
                        let _ = reply.send(Outcome::Stored(stored));
                    }
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(error) => error,
            };
            self.metrics.write_failures.inc();
            let mut jobs = join(batches, waiting);
            if store::partitions::missing(&error) {
                self.make_partitions(&mut jobs).await;
            }
            if !store::is_permanent(&error) {
                tracing::warn!(%error, batches = jobs.len(), "cannot store; trying again");
                parts.push(jobs);
                tokio::select! {
                    () = self.give_up.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LAST_PAUSE);
            } else if jobs.len() > 1 {
                // One of them is at fault: halve until it is alone, in the order they came.
                parts.push(jobs.split_off(jobs.len() / 2));
                parts.push(jobs);
            } else if let Some(job) = jobs.pop() {
                tracing::error!(%error, host.key = job.batch.host, "the database refuses a batch");
                let _ = job.reply.send(Outcome::Unstorable);
            }
        }
    }

    /// Housekeeping comes every hour of a clock that stands still in a suspended machine; the database
    /// may have been away for days, and the batches have waited as long.
    async fn make_partitions(&self, jobs: &mut [Job]) {
        let now = clock::now();
        for job in jobs {
            batch::clamp_to(&mut job.batch, now);
        }
        match self.store.make_partitions(now).await {
            Ok(made) => tracing::warn!(made, "made partitions that were missing"),
            Err(error) => tracing::error!(%error, "cannot make the partitions that are missing"),
        }
    }

    async fn try_write(
        &mut self,
        batches: &[Batch],
        announcements: &mut Announcements,
    ) -> Result<Vec<Stored>, sqlx::Error> {
        let announce = announcements.may();
        let started = Instant::now();
        let stored = self.store(batches, announce).await?;
        self.metrics.write_seconds.observe(started.elapsed().as_secs_f64());
        let rows: usize = stored.iter().map(|s| s.rows).sum();
        let duplicates: usize = stored.iter().map(|s| s.duplicates).sum();
        self.metrics.write_reports.observe((rows + duplicates) as f64);
        self.metrics.stored.inc_by(rows as u64);
        self.metrics.duplicates.inc_by(duplicates as u64);
        if announce {
            announcements.made();
        } else {
            announcements.due = true;
        }
        Ok(stored)
    }

    /// One transaction, with what was refused since the last.
    async fn store(
        &mut self,
        batches: &[Batch],
        announce: bool,
    ) -> Result<Vec<Stored>, sqlx::Error> {
        let counted = self.refusals.take();
        let list: Vec<RefusalCount> = counted.values().cloned().collect();
        let mut stored = self.store.store_batches(&mut self.memory, batches, &list, announce).await;
        if let Err(error) = &stored
            && store::is_permanent(error)
            && !list.is_empty()
        {
            // No batch is to blame for what is counted of others, a host that was deleted among them.
            let error = error.to_string();
            stored = self.store.store_batches(&mut self.memory, batches, &[], announce).await;
            if stored.is_ok() {
                tracing::error!(error, "the database refuses what was counted of refused reports");
                return stored;
            }
        }
        if stored.is_err() {
            self.refusals.give_back(counted);
        }
        stored
    }
}

impl Announcements {
    fn may(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= ANNOUNCE_EVERY)
    }

    fn made(&mut self) {
        self.last = Some(Instant::now());
        self.due = false;
    }
}

type Waiting = (oneshot::Sender<Outcome>, OwnedSemaphorePermit);

fn split(jobs: Vec<Job>) -> (Vec<Batch>, Vec<Waiting>) {
    jobs.into_iter().map(|job| (job.batch, (job.reply, job.room))).unzip()
}

fn join(batches: Vec<Batch>, waiting: Vec<Waiting>) -> Vec<Job> {
    let both = batches.into_iter().zip(waiting);
    both.map(|(batch, (reply, room))| Job { batch, reply, room }).collect()
}

fn reports(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.batch.reports.len()).sum()
}
