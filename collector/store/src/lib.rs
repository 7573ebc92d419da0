//! All SQL of the platform: every query that any part runs is in this crate.
//!
//! [`Store`] is a cheap handle on the connection pool. Its methods are grouped by who calls them, one
//! file each: [`hosts`] and [`ingest`] (the ingest role), [`fleet_view`] and [`alerts`] (evaluate),
//! [`outbox`] (notify), [`pages`] and [`accounts`] (web), [`partitions`], [`tiers`] and
//! `prune` (housekeeping), [`doubt`] (whether the time can be true). [`block`] packs samples and has no SQL; `session`
//! and `locks` say what holds for every connection, and how collectors on one database agree.

pub mod accounts;
pub mod alerts;
pub mod block;
mod copy;
pub mod doubt;
pub mod fleet_view;
pub mod hosts;
pub mod ingest;
pub mod listen;
mod locks;
pub mod outbox;
pub mod pages;
pub mod partitions;
pub mod people;
mod prune;
mod session;
pub mod storage;
pub mod tiers;
pub mod time;

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// A handle on the database; clones share one pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
}

/// The schema, embedded: applied at start by `truechimer serve` and by `truechimer migrate`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Number of the last migration that this program knows.
pub fn newest_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

impl Store {
    /// Opens a pool of at most `connections`; the first connection is made at once.
    pub async fn connect(options: PgConnectOptions, connections: u32) -> Result<Self, sqlx::Error> {
        Ok(Self { pool: session::pool(connections, None).connect_with(options).await? })
    }

    /// Another pool on the same database, for a part that others must not keep waiting; connections are made as
    /// they are needed. `statement_limit`: the longest statement, if there is a limit.
    pub fn apart(&self, connections: u32, statement_limit: Option<Duration>) -> Self {
        let server = self.pool.connect_options().as_ref().clone();
        Self { pool: session::pool(connections, statement_limit).connect_lazy_with(server) }
    }

    /// A store on a pool that already exists: for tests.
    pub fn from_pool(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Brings the schema up to this version, one collector at a time.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        // A lock on the table of migrations, not the library's: that one is open to every reader.
        let mut waiting = PgConnection::connect_with(&self.pool.connect_options()).await?;
        session::prepare(&mut waiting, None).await?;
        make_migrations_table(&mut waiting).await?;
        let mut alone = waiting.begin().await?;
        sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0")
            .execute(&mut *alone)
            .await?;
        sqlx::query("LOCK TABLE _sqlx_migrations IN SHARE UPDATE EXCLUSIVE MODE")
            .execute(&mut *alone)
            .await?;
        let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrator.set_locking(false).run(&self.pool).await?;
        alone.commit().await?;
        Ok(waiting.close().await?)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop)
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn make_migrations_table(connection: &mut PgConnection) -> Result<(), MigrateError> {
    const TABLE: &str = "_sqlx_migrations";
    match connection.ensure_migrations_table(TABLE).await {
        // Another collector makes it at this moment.
        Err(_) => connection.ensure_migrations_table(TABLE).await,
        made => made,
    }
}

/// Whether a server answers at all; makes one connection and ends it.
///
/// # Errors
/// It does not: not there, starting up, or refusing us.
pub async fn answers(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.ping().await?;
    connection.close().await
}

/// Makes the database `name` if the server does not have it. The server must have the database
/// `postgres`, and `options` the right to create databases.
///
/// # Errors
/// Whatever the server answers.
pub async fn ensure_database(options: &PgConnectOptions, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&options.clone().database("postgres")).await?;
    let there = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(name);
    if there.fetch_optional(&mut connection).await?.is_none() {
        let quoted = name.replace('"', "\"\"");
        let create = AssertSqlSafe(format!("CREATE DATABASE \"{quoted}\""));
        sqlx::query(create).execute(&mut connection).await?;
    }
    connection.close().await
}

/// Whether the database refuses the data itself, so that trying again is in vain: a value that does not
/// fit (SQLSTATE class 22) or a broken constraint (class 23). A missing partition is not: it can be made.
pub fn is_permanent(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|c| c.starts_with("22") || c.starts_with("23")) && !partitions::missing(error)
}
