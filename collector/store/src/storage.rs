//! What the database takes up and how it is kept: sizes, activity, vacuum, backups, the disk beneath.
//!
//! Tables are found in the catalogue, so a new one appears by itself. Partitions count as their parent.

use std::path::Path;

use sqlx::AssertSqlSafe;
use timebase::{Timestamp, Utc};

use crate::pages::At;
use crate::{Store, time};

/// One table of the platform with all its partitions.
#[derive(Clone, Debug)]
pub struct TableSize {
    /// With its schema.
    pub name: String,
    /// Rows, as the planner estimates.
    pub rows: i64,
    /// Partitions; 0: not partitioned.
    pub partitions: i64,
    /// The rows themselves.
    pub heap_bytes: i64,
    /// Its indexes.
    pub index_bytes: i64,
    /// Long values, kept aside.
    pub toast_bytes: i64,
    /// Rows that were replaced or deleted and not yet vacuumed.
    pub dead_rows: i64,
    /// When one of its parts was last vacuumed, by whomever.
    pub vacuumed_at: Option<At>,
}

impl TableSize {
    /// Everything it takes up.
    pub fn bytes(&self) -> i64 {
        self.heap_bytes + self.index_bytes + self.toast_bytes
    }
}

/// The server and this database on it.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// Its clock.
    pub now: At,
    /// As it says, such as "15.18".
    pub version: String,
    /// Whether its tables may be on other servers, whose files are not counted here.
    pub on_citus: bool,
    /// The whole database.
    pub bytes: i64,
    /// Connections to the server.
    pub connections: i64,
    /// Most that it takes.
    pub max_connections: i64,
    /// Transactions since the oldest row version that is not frozen; the server stops at 2 × 10⁹.
    pub transaction_age: i64,
    /// Received time of the newest sample of any host.
    pub newest_sample: Option<At>,
    /// Where the partition of the oldest sample begins.
    pub oldest_partition: Option<At>,
}

/// The disk that a private cluster is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub bytes: u64,
    /// What the cluster may still take.
    pub free_bytes: u64,
}

impl Disk {
    /// The one that holds a folder; `None`: the folder is not there.
    pub fn under(folder: &Path) -> Option<Self> {
        let disk = nix::sys::statvfs::statvfs(folder).ok()?;
        let unit = disk.fragment_size();
        Some(Self { bytes: disk.blocks() * unit, free_bytes: disk.blocks_available() * unit })
    }
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The moment whose data it holds.
    pub made_at: At,
    /// How long it took.
    pub took_ms: i64,
    /// Its size.
    pub bytes: i64,
    /// Where it was put.
    pub file: String,
}

impl Store {
    /// Every table of the platform, the largest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn table_sizes(&self) -> Result<Vec<TableSize>, sqlx::Error> {
        sqlx::query_as!(
            TableSize,
            r#"SELECT n.nspname || '.' || root.relname AS "name!",
                      coalesce(sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind <> 'p'), 0)::int8 AS "rows!",
                      count(*) FILTER (WHERE c.relispartition AND c.relkind = 'r') AS "partitions!",
                      sum(pg_table_size(c.oid) - coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0))::int8
                          AS "heap_bytes!",
                      sum(pg_indexes_size(c.oid))::int8 AS "index_bytes!",
                      sum(coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0))::int8 AS "toast_bytes!",
                      sum(coalesce(pg_stat_get_dead_tuples(c.oid), 0))::int8 AS "dead_rows!",
                      max(greatest(pg_stat_get_last_vacuum_time(c.oid),
                                   pg_stat_get_last_autovacuum_time(c.oid))) AS "vacuumed_at: At"
               FROM pg_class c
               JOIN pg_class root ON root.oid = coalesce(pg_partition_root(c.oid), c.oid)
               JOIN pg_namespace n ON n.oid = root.relnamespace
               WHERE n.nspname IN ('store', 'fleet') AND c.relkind IN ('r', 'm', 'p')
               GROUP BY n.nspname, root.relname
               ORDER BY sum(pg_total_relation_size(c.oid)) DESC, 1"#
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The server, and this database as a whole.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn server_state(&self) -> Result<ServerState, sqlx::Error> {
        // Apart: beside a distributed table, Citus reads what is behind the server's own views as the user who asks,
        // who may not.
        let newest =
            sqlx::query_scalar!(r#"SELECT max(ref_time) AS "newest: At" FROM store.host_state"#);
        let newest = newest.fetch_one(&self.pool).await?;
        sqlx::query_as!(
            ServerState,
            r#"SELECT now() AS "now!: At",
                      current_setting('server_version') AS "version!",
                      store.on_citus() AS "on_citus!",
                      pg_database_size(current_database()) AS "bytes!",
                      (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                          AS "connections!",
                      current_setting('max_connections')::int8 AS "max_connections!",
                      (SELECT age(datfrozenxid)::int8 FROM pg_database WHERE datname = current_database())
                          AS "transaction_age!",
                      $1::timestamptz AS "newest_sample: At",
                      (SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)')::timestamptz)
                       FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                       WHERE i.inhparent IN ('store.sample'::regclass, 'store.sample_block'::regclass)
                         AND pg_relation_size(c.oid) > 0)
                          AS "oldest_partition: At""#,
            newest as _
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Number of the newest migration applied; `None`: this database was never one of ours.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn schema_version(&self) -> Result<Option<i64>, sqlx::Error> {
        // Not a macro: the table is made by what applies migrations, not by a migration.
        let there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
        if !sqlx::query_scalar(there).fetch_one(&self.pool).await? {
            return Ok(None);
        }
        let newest = "SELECT max(version) FROM _sqlx_migrations WHERE success";
        sqlx::query_scalar(newest).fetch_one(&self.pool).await
    }

    /// As libpq counts: 150018 is 15.18.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn server_version(&self) -> Result<u32, sqlx::Error> {
        let number = sqlx::query_scalar!(
            r#"SELECT current_setting('server_version_num')::int4 AS "number!""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(number.unsigned_abs())
    }

    /// Bytes of write-ahead log on disk; `None`: this user may not know.
    pub async fn wal_bytes(&self) -> Option<i64> {
        sqlx::query_scalar!(r#"SELECT sum(size)::int8 AS "bytes!" FROM pg_ls_waldir()"#)
            .fetch_one(&self.pool)
            .await
            .ok()
    }

    /// The tables that VACUUM takes one by one: partitions, not their parents.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn tables_to_vacuum(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT format('%I.%I', n.nspname, c.relname) AS "name!"
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname IN ('store', 'fleet') AND c.relkind IN ('r', 'm') ORDER BY 1"#
        )
        .fetch_all(&self.pool)
        .await
    }

    /// VACUUM of a table named by [`Store::tables_to_vacuum`], beside those who read and write;
    /// how many bytes it gave back to the file system. Most of what it frees stays in the table, for
    /// rows to come.
    ///
    /// # Errors
    /// The database does not answer, or the table was dropped meanwhile.
    pub async fn vacuum(&self, table: &str) -> Result<i64, sqlx::Error> {
        let before = self.total_size(table).await?;
        let vacuum = AssertSqlSafe(format!("VACUUM {table}"));
        sqlx::query(vacuum).execute(&self.pool).await?;
        Ok(before - self.total_size(table).await?)
    }

    /// Renews what the planner knows of every table, with the parents of partitions, which the server does
    /// not look at by itself.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn analyze(&self) -> Result<(), sqlx::Error> {
        sqlx::query("ANALYZE").execute(&self.pool).await.map(drop)
    }

    async fn total_size(&self, table: &str) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT pg_total_relation_size($1::text::regclass) AS "bytes!""#,
            table
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Tables and views in this database that are not the server's own: 0 in one that is empty.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn relations(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "n!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'
                 AND n.nspname NOT LIKE 'pg\_%'
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Notes that a backup was made.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn note_backup(
        &self,
        made_at: Timestamp<Utc>,
        took_ms: i64,
        bytes: i64,
        file: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO store.backup (made_at, took_ms, bytes, file) VALUES ($1, $2, $3, $4)",
            time::to_sql(made_at) as _,
            took_ms,
            bytes,
            file
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// The newest backup that is known of.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn last_backup(&self) -> Result<Option<Backup>, sqlx::Error> {
        sqlx::query_as!(
            Backup,
            r#"SELECT made_at AS "made_at: At", took_ms, bytes, file FROM store.backup
               ORDER BY made_at DESC LIMIT 1"#
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Hosts that ever joined.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn host_count(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM store.host"#)
            .fetch_one(&self.pool)
            .await
    }
}
