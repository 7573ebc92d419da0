//! `[ingest]`: what a host may send.

use std::num::{NonZeroU8, NonZeroU32};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use timebase::Span;

use super::span;

/// Agents send batches of up to 256 KiB, and one report of very many sources may be longer.
const LEAST_MESSAGE_BYTES: u32 = 1 << 20;

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
    /// Sessions and enrolments let in a second.
    pub sessions_per_second: NonZeroU32,
    /// How many writers share the hosts, each with a transaction of its own.
    pub writers: NonZeroU8,
    /// How long a writer waits for more before it commits.
    #[serde(with = "span")]
    pub linger: Span,
    /// After how long a silent session is closed.
    #[serde(with = "span")]
    pub idle_timeout: Span,
    /// How often an open session looks whether its credential still holds.
    #[serde(with = "span")]
    pub revocation_check: Span,
}

impl Ingest {
    /// Refuses limits that would lock out agents that behave.
    ///
    /// # Errors
    /// Their batches would not fit.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.max_message_bytes.get() >= LEAST_MESSAGE_BYTES,
            "[ingest] max-message-bytes = {} is too small for the batches of agents: at least \
             {LEAST_MESSAGE_BYTES}",
            self.max_message_bytes
        );
        Ok(())
    }
}
