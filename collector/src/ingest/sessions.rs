use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use super::quota::{Bucket, Quota};

/// Most sessions of one host. An agent has one; a connection that broke unseen lingers beside it.
const MOST_PER_HOST: usize = 4;

/// Why a session is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Its credential no longer holds.
    Revoked,
    /// The host opened newer ones.
    Superseded,
}

/// Every open session, and what the hosts may still send.
#[derive(Debug)]
pub(super) struct Sessions {
    quota: Quota,
    metrics: Metrics,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, Open>,
    by_host: HashMap<i64, Vec<u64>>,
    /// Kept after a host has gone, or it would get a new burst by reconnecting. One per enrolled host.
    buckets: HashMap<i64, Bucket>,
}

#[derive(Debug)]
struct Open {
    credential: [u8; 32],
    cut: watch::Sender<Option<Cut>>,
}

/// An open session; dropping it closes it.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    host: i64,
    cut: watch::Receiver<Option<Cut>>,
    sessions: Arc<Sessions>,
}

impl Sessions {
    pub(super) fn new(quota: Quota, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { quota, metrics, inner: Mutex::default() })
    }

    /// Opens a session; beyond the limit the host's oldest is cut off.
    pub(super) fn open(self: &Arc<Self>, host: i64, credential: [u8; 32]) -> Seat {
        let (to_cut, cut) = watch::channel(None);
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        inner.open.insert(id, Open { credential, cut: to_cut });
        let ids = inner.by_host.entry(host).or_default();
        ids.push(id);
        let oldest = (ids.len() > MOST_PER_HOST).then(|| ids[0]);
        if let Some(open) = oldest.and_then(|id| inner.open.get(&id)) {
            open.cut.send_replace(Some(Cut::Superseded));
        }
        drop(inner);
        self.metrics.sessions.inc();
        Seat { id, host, cut, sessions: self.clone() }
    }

    /// Cuts off sessions whose credential was revoked or replaced, until `stop`.
    pub(super) async fn watch_credentials(
        self: Arc<Self>,
        store: Store,
        every: Duration,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let held = self.credentials();
            if held.is_empty() {
                continue;
            }
            match store.void_credentials(&held).await {
                Ok(void) => self.cut(&void),
                Err(error) => tracing::warn!(%error, "cannot look for revoked credentials"),
            }
        }
    }

    fn credentials(&self) -> Vec<Vec<u8>> {
        self.lock().open.values().map(|open| open.credential.to_vec()).collect()
    }

    fn cut(&self, void: &[Vec<u8>]) {
        for open in self.lock().open.values() {
            if void.iter().any(|hash| hash[..] == open.credential) {
                open.cut.send_replace(Some(Cut::Revoked));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Returns when the session is to end, and why.
    pub(super) async fn cut(&self) -> Cut {
        let mut cut = self.cut.clone();
        let why = cut.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Takes room for `reports` out of the host's quota, or says in how long there will be.
    pub(super) fn take(&self, reports: usize) -> Result<(), Duration> {
        let (quota, now) = (self.sessions.quota, Instant::now());
        let mut inner = self.sessions.lock();
        let bucket = inner.buckets.entry(self.host).or_insert_with(|| Bucket::full(quota, now));
        bucket.take(quota, reports, now)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.sessions.lock();
        inner.open.remove(&self.id);
        if let Some(ids) = inner.by_host.get_mut(&self.host) {
            ids.retain(|id| *id != self.id);
            if ids.is_empty() {
                inner.by_host.remove(&self.host);
            }
        }
        drop(inner);
        self.sessions.metrics.sessions.dec();
    }
}
