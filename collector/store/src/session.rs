//! What holds for each of our connections, whatever server it is to.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};

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
pub(crate) async fn pool(
    options: PgPoolOptions,
    server: PgConnectOptions,
) -> Result<PgPool, sqlx::Error> {
    options
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        // In place of the ping that tells a broken connection.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(takes_writes(connection)))
        .connect_with(server)
        .await
}

/// # Errors
/// The server does not answer, or takes no writes.
pub(crate) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let (names, values): (Vec<_>, Vec<_>) = SETTINGS.into_iter().unzip();
    sqlx::query("SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) s(name, value)")
        .bind(names)
        .bind(values)
        .persistent(false)
        .execute(&mut *connection)
        .await?;
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
