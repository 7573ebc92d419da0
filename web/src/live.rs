//! Live updates: one listener on the database per process, any number of browsers behind it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use store::Store;
use store::listen::Change;
use tokio::sync::{Semaphore, broadcast};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream};
use tokio_stream::{Stream, StreamExt};

use crate::session::Viewer;
use crate::{Error, WebState};

/// Browsers that may watch at once; each costs a connection and a few kB.
const VIEWERS: usize = 512;
/// Changes a slow browser may lag behind; it is told to reload everything beyond that.
const LAG: usize = 64;
/// A browser that hears nothing for two of these says that the connection is lost.
const TICK: Duration = Duration::from_secs(2);
/// Events until the browser has to connect anew, and with that to prove its session again.
const EVENTS_PER_STREAM: usize = 900;
/// Before listening anew after the database was lost.
const RETRY: Duration = Duration::from_secs(1);

/// What goes to the browsers.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    sender: broadcast::Sender<Push>,
    viewers: Arc<Semaphore>,
    database_up: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug)]
enum Push {
    Change(Change),
    Close,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(LAG),
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            database_up: Arc::new(AtomicBool::new(true)),
        }
    }
}

impl Feed {
    fn push(&self, push: Push) {
        // Nobody may be watching, which is fine.
        let _ = self.sender.send(push);
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.push(Push::Close);
        self.viewers.close();
    }
}

/// Passes on what the database announces; listens anew whenever the connection is lost.
pub(crate) async fn listen(store: Store, feed: Feed) {
    loop {
        let lost = match store.listen().await {
            Ok(mut listener) => {
                feed.database_up.store(true, Ordering::Relaxed);
                feed.push(Push::Change(Change::Unknown));
                loop {
                    match listener.next().await {
                        Ok(change) => feed.push(Push::Change(change)),
                        Err(lost) => break lost,
                    }
                }
            }
            Err(lost) => lost,
        };
        if feed.database_up.swap(false, Ordering::Relaxed) {
            tracing::warn!(error = %lost, "live updates pause: the database does not answer");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// `GET /live`: server-sent events `samples`, `findings`, `alerts`, `unknown`; and `tick`, whose data
/// says whether the database answers.
pub(crate) async fn stream(
    State(state): State<WebState>,
    _viewer: Viewer,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let feed = state.feed().clone();
    let seat = feed.viewers.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
    let changes = BroadcastStream::new(feed.sender.subscribe())
        .map(|push| Some(push.unwrap_or(Push::Change(Change::Unknown))));
    let ticks = IntervalStream::new(tokio::time::interval(TICK)).map(|_| None);
    let database_up = feed.database_up.clone();
    let events = changes
        .merge(ticks)
        .take_while(|push| !matches!(push, Some(Push::Close)))
        .take(EVENTS_PER_STREAM)
        .map(move |push| {
            let _seat = &seat;
            Ok(match push {
                // Browsers drop events without data.
                Some(Push::Change(change)) => Event::default().event(change.word()).data("changed"),
                _ => {
                    let up = database_up.load(Ordering::Relaxed);
                    Event::default().event("tick").data(if up { "connected" } else { "database" })
                }
            })
        });
    Ok(Sse::new(events))
}
