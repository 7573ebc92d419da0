//! The one place of these tests that reads the system clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970 by this machine.
#[expect(clippy::disallowed_methods, reason = "a synthetic server needs a clock to be wrong by")]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
