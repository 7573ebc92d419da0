//! All SQL of the platform: every query that any part runs is in this crate.
//!
//! [`Store`] is a cheap handle on the connection pool. Its methods are grouped by who calls them, one
//! file each: [`hosts`] and [`ingest`] (the ingest role), [`fleet_view`] and [`alerts`] (evaluate),
//! [`outbox`] (notify), [`pages`] and [`accounts`] (web), [`partitions`], [`tiers`] and
//! `prune` (housekeeping). [`block`] packs samples and has no SQL.

pub mod accounts;
pub mod alerts;
pub mod block;
mod copy;
pub mod fleet_view;
pub mod hosts;
pub mod ingest;
pub mod listen;
pub mod outbox;
pub mod pages;
pub mod partitions;
pub mod people;
mod prune;
pub mod storage;
pub mod tiers;
pub mod time;

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
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
        // A caller that waits longer for a connection had better fail and say so.
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    /// A store on a pool that already exists: for tests.
    pub fn from_pool(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Brings the schema up to this version.
    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATIONS.run(&self.pool).await
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
