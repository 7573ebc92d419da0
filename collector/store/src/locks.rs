//! How several collectors on one database keep out of each other's way.
//!
//! Every lock is on a table of schema `store`, on which people who ask with SQL have no rights: no reader can hold
//! one. Each ends with its transaction, and the server ends a transaction whose client is gone (`session.rs`).

use sqlx::error::DatabaseError;
use sqlx::{PgConnection, Postgres, Transaction};

use crate::Store;

/// How long writers may be kept waiting, try by try: the first is enough unless a transaction is slow, and the last
/// is for a server that is.
const TRIES: [&str; 5] = ["300ms", "600ms", "1200ms", "2400ms", "4800ms"];

/// Work that one collector at a time does: a row of `store.job`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Makes and drops partitions.
    Partitions,
    /// Packs hours into blocks.
    Repacking,
    /// Makes rollups, and packs those of minutes.
    Rolling,
}

impl Job {
    const fn name(self) -> &'static str {
        match self {
            Self::Partitions => "partitions",
            Self::Repacking => "repacking",
            Self::Rolling => "rolling",
        }
    }

    /// Waits until this transaction is the only one that does it.
    pub(crate) async fn wait(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("SELECT name FROM store.job WHERE name = $1 FOR UPDATE", self.name())
            .fetch_one(connection)
            .await
            .map(drop)
    }

    /// Whether this transaction is now the only one that does it.
    pub(crate) async fn alone(self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query!(
            "SELECT name FROM store.job WHERE name = $1 FOR UPDATE SKIP LOCKED",
            self.name()
        )
        .fetch_optional(connection)
        .await
        .map(|row| row.is_some())
    }
}

impl Store {
    /// A transaction with no writer between reading the marks and its commit. New writers wait for this one, and
    /// this one for those that write: so it gives up soon, lest one that is slow or dead stops all others. `None`:
    /// try again later.
    pub(crate) async fn without_writers(
        &self,
    ) -> Result<Option<Transaction<'static, Postgres>>, sqlx::Error> {
        for limit in TRIES {
            let mut tx = self.pool.begin().await?;
            sqlx::query!("SELECT set_config('lock_timeout', $1, true)", limit)
                .fetch_one(&mut *tx)
                .await?;
            match exclude_writers(&mut tx).await {
                Ok(()) => return Ok(Some(tx)),
                Err(error) if is_lock_timeout(&error) => tx.rollback().await?,
                Err(error) => return Err(error),
            }
        }
        tracing::warn!("a transaction that stores samples does not end; sealing them later");
        Ok(None)
    }
}

/// Waits for writers; none comes until the transaction ends.
pub(crate) async fn exclude_writers(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("LOCK TABLE store.writer_lock IN EXCLUSIVE MODE")
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "55P03")
}
