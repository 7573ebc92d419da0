//! `[sql]`: what people who ask with SQL may take.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use timebase::Span;

use super::span;

/// Limits of those who read schema `fleet`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sql {
    /// Longest transaction; the server cancels it then, whatever the session has set.
    #[serde(with = "span")]
    pub time_limit: Span,
    /// Most connections of one SQL user.
    pub connections: NonZeroU32,
}
