//! The only reader of a real clock in the collector.

use timebase::{Timestamp, Utc};

/// This machine's clock, taken for UTC. Its own error is the witness's to find, not hidden here.
#[expect(clippy::disallowed_methods, reason = "the collector's one place to read the real clock")]
pub fn now() -> Timestamp<Utc> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Before 1970 or after 2262 nothing here works; both ends saturate rather than panic.
    let ns = now.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    Timestamp::from_ns(ns)
}
