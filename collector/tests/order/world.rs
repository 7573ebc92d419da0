use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::Store;
use store::tiers::Keep;
use timebase::{Span, Timestamp};
use uuid::Uuid;

use crate::history::{History, NOON_NS};

const HOUR: Span = Span::from_secs(3_600);
pub(crate) const KEEP: Keep = Keep {
    raw: HOUR,
    samples: HOUR.times(24 * 30),
    minutes: HOUR.times(24 * 30),
    hours: HOUR.times(24 * 365),
    events: HOUR.times(24 * 365),
};

/// A fresh database with the schema, on the server named by `DATABASE_URL`.
pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) store: Store,
    options: PgConnectOptions,
    name: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a Postgres to test on");
        let options: PgConnectOptions = url.parse().unwrap();
        let name = format!("order_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect_with(&options).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        let pool = PgPool::connect_with(options.clone().database(&name)).await.unwrap();
        let store = Store::from_pool(pool.clone());
        // Two migrations at once would both make the roles, which all databases share.
        sqlx::query("SELECT pg_advisory_lock(20261122)").execute(&mut admin).await.unwrap();
        store.migrate().await.unwrap();
        admin.close().await.unwrap();
        store.make_partitions(Timestamp::from_ns(NOON_NS)).await.unwrap();
        Self { pool, store, options, name }
    }

    /// A pool as another role.
    pub(crate) async fn login(&self, role: &str) -> PgPool {
        let options = self.options.clone().database(&self.name).username(role);
        PgPool::connect_with(options).await.unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// Stores what the hosts of these histories reported, as ingest would.
    pub(crate) async fn fill(&self, histories: &[History]) {
        let (mut hosts, mut samples, mut events) = (String::new(), String::new(), String::new());
        for (n, history) in histories.iter().enumerate() {
            hosts += &format!(
                "('{}', '{}', '\\x{n:08x}'),",
                Uuid::from_u128(n as u128 + 1),
                history.name
            );
            history.write(n + 1, &mut samples, &mut events);
        }
        hosts.pop();
        self.run(&format!(
            "INSERT INTO store.host (host_uuid, name, credential_hash) VALUES {hosts}"
        ))
        .await;
        let columns =
            "host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, frequency_ppb, boot_no, steps,
                       stray_ns, rate_margin_ppb, state, sources_used";
        self.run("CREATE TABLE IF NOT EXISTS told (LIKE store.sample, by_age bool); TRUNCATE told")
            .await;
        self.copy(&format!("told ({columns}, by_age)"), samples).await;
        self.run(&format!(
            "INSERT INTO store.sample ({columns})
             SELECT {columns} FROM told, store.tier_mark WHERE ref_time >= sealed_until;
             INSERT INTO store.sample_late ({columns})
             SELECT {columns} FROM told, store.tier_mark WHERE ref_time < sealed_until"
        ))
        .await;
        let columns = "host_id, boot_no, seq, place, ref_time, host_ns, raw_ns, kind, summary";
        self.copy(&format!("store.event ({columns})"), events).await;
        self.run(
            "INSERT INTO store.epoch
             SELECT DISTINCT ON (host_id, boot_no, steps) host_id, boot_no, steps, ref_time, host_ns, raw_ns, seq, by_age,
                    CASE WHEN by_age IS NOT NULL
                         THEN min(ref_time) OVER (PARTITION BY host_id, boot_no, steps) END
             FROM told ORDER BY host_id, boot_no, steps, seq;
             INSERT INTO store.boot (host_id, boot_id, boot_no, last_seq)
             SELECT host_id, gen_random_uuid(), boot_no, max(seq) FROM told GROUP BY host_id, boot_no;
             ANALYZE",
        )
        .await;
    }

    /// Has the product repack all hours that are over at `now`, and drop the rows they were made of.
    pub(crate) async fn repack(&self, now: i64) {
        let now = Timestamp::from_ns(now);
        self.store.maintain_tiers(now, &KEEP, 24).await.unwrap();
        self.store.maintain_partitions(now, &KEEP).await.unwrap();
        self.run("ANALYZE").await;
    }

    async fn copy(&self, table: &str, rows: String) {
        let mut connection = self.pool.acquire().await.unwrap();
        let mut copy = connection.copy_in_raw(&format!("COPY {table} FROM STDIN")).await.unwrap();
        copy.send(rows.into_bytes()).await.unwrap();
        copy.finish().await.unwrap();
    }

    /// Removes the database.
    pub(crate) async fn end(self) {
        self.pool.close().await;
        let mut admin = PgConnection::connect_with(&self.options).await.unwrap();
        let drop = AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        sqlx::query(drop).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    }
}
