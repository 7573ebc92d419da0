//! `[ingest]`: what a host may send.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use timebase::Span;

use super::span;

/// Limits of the ingest role.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ingest {
    /// Most reports in one batch.
    pub max_batch: NonZeroU32,
    /// Largest message on the wire, bytes.
    pub max_message_bytes: NonZeroU32,
    /// Reports a second and host, in the long run.
    pub reports_per_second: NonZeroU32,
    /// Reports a host may send at once.
    pub burst: NonZeroU32,
    /// How long the writer waits for more before it commits.
    #[serde(with = "span")]
    pub linger: Span,
    /// After how long a silent session is closed.
    #[serde(with = "span")]
    pub idle_timeout: Span,
    /// How often an open session looks whether its credential still holds.
    #[serde(with = "span")]
    pub revocation_check: Span,
}
