//! What the pages read: one file per page, one struct per thing shown. Nothing here writes.

pub mod alerts;
pub mod fleet;
pub mod host;
pub mod risks;
pub mod series;
pub mod storage;

use crate::Store;

/// An instant as `timestamptz` holds it.
pub type At = jiff_sqlx::Timestamp;

/// Why a page could not be read: the database is gone, slow, or of another version.
pub type ReadError = sqlx::Error;

impl Store {
    /// The database's clock: the "now" that every age on a page is relative to.
    pub async fn now(&self) -> Result<At, sqlx::Error> {
        sqlx::query_scalar!(r#"SELECT now() AS "now!: At""#).fetch_one(&self.pool).await
    }
}
