//! What the collector shows of itself: `/metrics`, `/healthz`, `/readyz`, and its log.

mod health;
mod logging;
mod serve;

pub use health::Health;
pub use logging::init as init_logging;
pub use serve::router;
