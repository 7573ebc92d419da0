//! What holds for each of our connections, whatever server it is to.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgPoolOptions;

/// A client that is gone or stands still must not hold its locks for the two hours that TCP would take: others wait
/// for them. No transaction of ours pauses for seconds. Settings of TCP do nothing on a unix socket.
const SETTINGS: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "15s"),
    ("tcp_keepalives_idle", "10s"),
    ("tcp_keepalives_interval", "5s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "25s"),
];

/// A pool of connections that write: one to a server that takes no writes, as after a failover, is closed.
/// `statement_limit`: the longest statement, if there is a limit.
pub(crate) fn pool(connections: u32, statement_limit: Option<Duration>) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        // A caller that waits longer for a connection had better fail and say so.
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(move |connection, _| Box::pin(prepare(connection, statement_limit)))
        // In place of the ping that tells a broken connection.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(takes_writes(connection)))
}

/// # Errors
/// The server does not answer, or takes no writes.
pub(crate) async fn prepare(
    connection: &mut PgConnection,
    statement_limit: Option<Duration>,
) -> Result<(), sqlx::Error> {
    let (names, values): (Vec<_>, Vec<_>) = SETTINGS.into_iter().unzip();
    sqlx::query(
        "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) s(name, value)",
    )
    .bind(names)
    .bind(values)
    .persistent(false)
    .execute(&mut *connection)
    .await?;
    if let Some(limit) = statement_limit {
        sqlx::query("SELECT set_config('statement_timeout', $1, false)")
            .bind(format!("{}ms", limit.as_millis()))
            .persistent(false)
            .execute(&mut *connection)
            .await?;
    }
    if takes_writes(connection).await? {
        return Ok(());
    }
    let why = "the database server takes no writes: is it a standby, or was it made read-only?";
    Err(sqlx::Error::Configuration(why.into()))
}

async fn takes_writes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'off'")
        .fetch_one(connection)
        .await
}
