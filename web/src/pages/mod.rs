//! One file per page: read, arrange, render. What a page shows is a struct beside its handler.

pub(crate) mod alerts;
pub(crate) mod fleet;
pub(crate) mod host;
pub(crate) mod risks;
pub(crate) mod series;
pub(crate) mod storage;

use uuid::Uuid;

use crate::Error;

/// The host id in an address.
fn host_id(text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error::NotFound)
}
