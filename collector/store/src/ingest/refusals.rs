use sqlx::PgConnection;
use timebase::{Timestamp, Utc};

use crate::time;

/// Refusals of one host for one reason since they were last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// The host's key.
    pub host: i64,
    /// One word.
    pub reason: &'static str,
    /// How many.
    pub count: i64,
    /// When the last one was.
    pub last_at: Timestamp<Utc>,
    /// The last one, for people.
    pub detail: String,
}

/// Adds them up in the table. At most one per host and reason, in that order.
pub(super) async fn add(
    connection: &mut PgConnection,
    refusals: &[RefusalCount],
) -> Result<(), sqlx::Error> {
    if refusals.is_empty() {
        return Ok(());
    }
    let hosts: Vec<i64> = refusals.iter().map(|r| r.host).collect();
    let reasons: Vec<String> = refusals.iter().map(|r| r.reason.to_owned()).collect();
    let counts: Vec<i64> = refusals.iter().map(|r| r.count).collect();
    let last: Vec<_> = refusals.iter().map(|r| time::to_sql(r.last_at)).collect();
    let details: Vec<String> = refusals.iter().map(|r| r.detail.clone()).collect();
    sqlx::query!(
        "INSERT INTO store.refusal AS r (host_id, reason, count, last_at, detail)
         SELECT * FROM unnest($1::int8[], $2::text[], $3::int8[], $4::timestamptz[], $5::text[])
         ON CONFLICT (host_id, reason) DO UPDATE
         SET count = r.count + excluded.count, last_at = excluded.last_at, detail = excluded.detail",
        &hosts,
        &reasons,
        &counts,
        &last as _,
        &details
    )
    .execute(connection)
    .await
    .map(drop)
}
