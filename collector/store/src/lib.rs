//! All SQL of the platform: every query that any part runs is in this crate.
//!
//! [`Store`] is a cheap handle on the connection pool. Its methods are grouped by who calls them, one
//! file each: [`hosts`] and [`ingest`] (the ingest role), [`fleet_view`] and [`alerts`] (evaluate),
//! [`outbox`] (notify), [`pages`] and [`accounts`] (web), [`partitions`] (housekeeping).

pub mod accounts;
pub mod alerts;
pub mod fleet_view;
pub mod hosts;
pub mod ingest;
pub mod listen;
pub mod outbox;
pub mod pages;
pub mod partitions;
pub mod time;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// A handle on the database; clones share one pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
}

/// The schema, embedded: applied at start by `truechimer serve` and by `truechimer migrate`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

impl Store {
    /// Opens a pool of at most `connections`; the first connection is made at once.
    pub async fn connect(options: PgConnectOptions, connections: u32) -> Result<Self, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(connections).connect_with(options).await?;
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
