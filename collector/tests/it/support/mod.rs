//! A collector in a folder of its own, and agents that speak to it.

mod agent;
pub(crate) mod citus;
mod skip;
mod world;

use std::time::Duration;

pub(crate) use agent::{Agent, Session, hello_message, message, report};
pub(crate) use skip::skip;
pub(crate) use world::{World, truechimer};

/// Long enough for a loaded machine; nothing waits for it unless something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `check` gives a value.
pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
