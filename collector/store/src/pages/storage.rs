//! What of the fleet is not stored: refusals, for the storage page. Sizes are in [`crate::tiers`] and
//! [`crate::storage`], which `truechimer db status` reads too.

use uuid::Uuid;

use super::At;
use crate::Store;

/// Reports of a host that were refused for one reason.
#[derive(Clone, Debug)]
pub struct RefusalRow {
    /// Name of the host.
    pub host: String,
    /// Its identity.
    pub host_uuid: Uuid,
    /// Whether it is simulated.
    pub simulated: bool,
    /// Word of the reason.
    pub reason: String,
    /// How many.
    pub count: i64,
    /// The newest.
    pub last_at: At,
    /// What was wrong with it.
    pub detail: String,
}

impl Store {
    /// Refusals of all hosts, those that go on first.
    pub async fn newest_refusals(&self, most: i64) -> Result<Vec<RefusalRow>, sqlx::Error> {
        sqlx::query_as!(
            RefusalRow,
            r#"SELECT host AS "host!", host_uuid AS "host_uuid!", simulated AS "simulated!",
                      reason AS "reason!", count AS "count!", last_at AS "last_at!: At", detail AS "detail!"
               FROM fleet.refusals ORDER BY last_at DESC, host, reason LIMIT $1"#,
            most
        )
        .fetch_all(&self.pool)
        .await
    }
}
