use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: short against every interval under test, long against a loaded core.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks again and again until `look` gives a value; fails with what it last said instead.
///
/// `look` answers `Ok(Ok(value))` when it is so, `Ok(Err(what it saw))` when it is not so yet, and
/// `Err` when it could not look, which also counts as not yet.
pub async fn eventually<T, E: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Result<T, E>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let seen = match look().await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => format!("{seen:?}"),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("{what}: not within {within:?}; last seen: {seen}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
