use std::path::PathBuf;
use std::sync::Arc;

use store::Store;
use timebase::Span;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::live::{self, Feed};
use crate::sign_in::limit::Limiter;

/// Password checks at once: each takes 19 MiB and a core.
const PASSWORD_CHECKS: usize = 2;

/// What the pages may be told.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Whether browsers are to send cookies over TLS only. Set it wherever TLS ends before the pages.
    pub secure_cookies: bool,
    /// Samples further apart than this have a gap between them in charts.
    pub silence_limit: Span,
    /// Where the private cluster's files are; `None`: an external server, whose disk is not ours to see.
    pub cluster: Option<PathBuf>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self { secure_cookies: false, silence_limit: Span::from_secs(35), cluster: None }
    }
}

/// What every request shares; clones are handles on the same state.
#[derive(Clone, Debug)]
pub struct WebState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    config: WebConfig,
    limiter: Limiter,
    password_checks: Semaphore,
    feed: Feed,
    listener: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl WebState {
    /// State over `store`; starts the task that listens for changes, so it needs a tokio runtime.
    pub fn new(store: Store, config: WebConfig) -> Self {
        let feed = Feed::default();
        let listener = tokio::spawn(live::listen(store.clone(), feed.clone())).abort_handle();
        let password_checks = Semaphore::new(PASSWORD_CHECKS);
        let limiter = Limiter::default();
        let inner = Inner { store, config, limiter, password_checks, feed, listener };
        Self { inner: Arc::new(inner) }
    }

    /// Ends every live stream, so that a graceful stop need not wait for browsers to go.
    pub fn close(&self) {
        self.inner.feed.close();
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn config(&self) -> &WebConfig {
        &self.inner.config
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    pub(crate) fn password_checks(&self) -> &Semaphore {
        &self.inner.password_checks
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.inner.feed
    }
}
