use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use super::quota::{Bucket, Quota};

/// Looking for revoked credentials takes at most such a part of the time, however many sessions there are: a hundred
/// thousand take the database 0.3 s.
const WATCHING_SHARE: u32 = 50;
/// Most sessions of one host. An agent has one; a connection that broke unseen lingers beside it.
const MOST_PER_HOST: usize = 4;

/// Why a session is to end. Of several reasons the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Cut {
    /// The collector stops: what was read is answered first.
    Stopping = 1,
    /// The host opened newer ones.
    Superseded = 2,
    /// Its credential no longer holds.
    Revoked = 3,
}

/// Every open session, and what the hosts may still send.
#[derive(Debug)]
pub(super) struct Sessions {
    quota: Quota,
    metrics: Metrics,
    stopping: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, Open>,
    /// Kept after a host has gone, or it would get a new burst by reconnecting. One per enrolled host.
    hosts: HashMap<i64, Host>,
}

#[derive(Debug)]
struct Open {
    credential: [u8; 32],
    line: Arc<Line>,
}

#[derive(Debug)]
struct Host {
    /// Oldest first.
    sessions: Vec<u64>,
    bucket: Arc<Mutex<Bucket>>,
}

/// To one session: why it is to end, once it is.
#[derive(Debug, Default)]
struct Line {
    cut: AtomicU8,
    waker: AtomicWaker,
}

impl Line {
    fn cut(&self, why: Cut) {
        self.cut.fetch_max(why as u8, Ordering::Release);
        self.waker.wake();
    }
}

/// An open session; dropping it closes it.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    host: i64,
    line: Arc<Line>,
    bucket: Arc<Mutex<Bucket>>,
    sessions: Arc<Sessions>,
}

impl Sessions {
    pub(super) fn new(quota: Quota, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { quota, metrics, stopping: AtomicBool::new(false), inner: Mutex::default() })
    }

    /// Opens a session; beyond the limit the host's oldest is cut off.
    pub(super) fn open(self: &Arc<Self>, host: i64, credential: [u8; 32]) -> Seat {
        let line = Arc::<Line>::default();
        let mut inner = self.lock();
        // Asked under the lock: the one who stops cuts all those that are open by then.
        if self.stopping() {
            line.cut(Cut::Stopping);
        }
        let id = inner.next;
        inner.next += 1;
        inner.open.insert(id, Open { credential, line: line.clone() });
        let known = inner.hosts.entry(host).or_insert_with(|| Host {
            sessions: Vec::with_capacity(1),
            bucket: Arc::new(Mutex::new(Bucket::full(self.quota, Instant::now()))),
        });
        known.sessions.push(id);
        let bucket = known.bucket.clone();
        let oldest = (known.sessions.len() > MOST_PER_HOST).then(|| known.sessions[0]);
        if let Some(open) = oldest.and_then(|id| inner.open.get(&id)) {
            open.line.cut(Cut::Superseded);
        }
        drop(inner);
        self.metrics.sessions.inc();
        Seat { id, host, line, bucket, sessions: self.clone() }
    }

    /// Whether [`Self::stop`] was called.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends all sessions, and those that are yet to open.
    pub(super) fn stop(&self) {
        let inner = self.lock();
        self.stopping.store(true, Ordering::Release);
        for open in inner.open.values() {
            open.line.cut(Cut::Stopping);
        }
    }

    /// Cuts off sessions whose credential was revoked or replaced, until `stop`.
    pub(super) async fn watch_credentials(
        self: Arc<Self>,
        store: Store,
        every: Duration,
        stop: CancellationToken,
    ) {
        let mut pause = every;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let held = self.credentials();
            if held.is_empty() {
                continue;
            }
            let asked = Instant::now();
            match store.void_credentials(&held).await {
                Ok(void) => self.cut(&void),
                Err(error) => tracing::warn!(%error, "cannot look for revoked credentials"),
            }
            pause = pause_after(asked.elapsed(), every);
        }
    }

    fn credentials(&self) -> Vec<Vec<u8>> {
        self.lock().open.values().map(|open| open.credential.to_vec()).collect()
    }

    fn cut(&self, void: &[Vec<u8>]) {
        if void.is_empty() {
            return;
        }
        for open in self.lock().open.values() {
            if void.iter().any(|hash| hash[..] == open.credential) {
                open.line.cut(Cut::Revoked);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until credentials are looked for again, when it took so long.
fn pause_after(took: Duration, every: Duration) -> Duration {
    every.max(took * WATCHING_SHARE)
}

impl Seat {
    /// Ready when the session is to end, and why; again and again from then on.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Cut> {
        self.line.waker.register(cx.waker());
        match self.line.cut.load(Ordering::Acquire) {
            0 => Poll::Pending,
            1 => Poll::Ready(Cut::Stopping),
            2 => Poll::Ready(Cut::Superseded),
            _ => Poll::Ready(Cut::Revoked),
        }
    }

    /// Takes room for `reports` out of the host's quota, or says in how long there will be.
    pub(super) fn take(&self, reports: usize, now: Instant) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(self.sessions.quota, reports, now)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.sessions.lock();
        inner.open.remove(&self.id);
        if let Some(host) = inner.hosts.get_mut(&self.host) {
            host.sessions.retain(|id| *id != self.id);
        }
        drop(inner);
        self.sessions.metrics.sessions.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::config::Config;

    fn sessions() -> Arc<Sessions> {
        let config = Config::parse("[ingest]\nburst = 1\nmax-batch = 1\n").unwrap();
        Sessions::new(Quota::new(&config.ingest), Metrics::register(&mut Registry::default()))
    }

    fn cut(seat: &Seat) -> Option<Cut> {
        match seat.poll_cut(&Context::from_waker(Waker::noop())) {
            Poll::Ready(cut) => Some(cut),
            Poll::Pending => None,
        }
    }

    /// Proves that of more sessions than a host may have the oldest ends, and no other host's.
    #[test]
    fn the_oldest_makes_room() {
        let sessions = sessions();
        let other = sessions.open(2, [2; 32]);
        let mut seats: Vec<_> = (0..=MOST_PER_HOST).map(|_| sessions.open(1, [1; 32])).collect();
        let cuts: Vec<_> = seats.iter().map(cut).collect();
        assert_eq!(cuts[0], Some(Cut::Superseded));
        assert!(cuts[1..].iter().all(Option::is_none) && cut(&other).is_none());
        // Once it has gone there is room for all.
        drop(seats.remove(0));
        drop(sessions.open(2, [2; 32]));
        assert!(seats.iter().chain([&other]).all(|seat| cut(seat).is_none()));
    }

    /// Proves that a stop ends the sessions that are open and those that open later, and that a revoked
    /// credential is the stronger reason.
    #[test]
    fn a_stop_ends_all() {
        let sessions = sessions();
        let before = [sessions.open(1, [1; 32]), sessions.open(2, [2; 32])];
        sessions.stop();
        let after = sessions.open(3, [3; 32]);
        sessions.cut(&[vec![2; 32]]);
        assert_eq!(cut(&before[0]), Some(Cut::Stopping));
        assert_eq!(cut(&before[1]), Some(Cut::Revoked));
        assert_eq!(cut(&after), Some(Cut::Stopping));
    }

    /// Proves that looking for revoked credentials is as often as it is configured where it is quick, and a fiftieth of
    /// the time where it is not.
    #[test]
    fn watching_is_paced() {
        let (ms, every) = (Duration::from_millis, Duration::from_secs(2));
        assert_eq!(pause_after(ms(3), every), every);
        assert_eq!(pause_after(ms(300), every), Duration::from_secs(15));
    }

    /// Proves that all sessions of a host draw on one quota, and a new one brings no new burst.
    #[test]
    fn one_quota_for_a_host() {
        let (sessions, now) = (sessions(), Instant::now());
        let (one, two) = (sessions.open(1, [1; 32]), sessions.open(1, [1; 32]));
        assert_eq!(one.take(1, now), Ok(()));
        assert!(two.take(1, now).is_err());
        drop((one, two));
        assert!(sessions.open(1, [1; 32]).take(1, now).is_err());
        assert_eq!(sessions.open(2, [2; 32]).take(1, now), Ok(()));
    }
}
