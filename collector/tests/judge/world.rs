//! A database of its own, hosts that report into it, and a receiver of webhooks.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use collector::config::Config;
use collector::{evaluate, notify};
use prometheus_client::registry::Registry;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(30);
const MS: i64 = 1_000_000;

/// A fresh database with the schema, and the collector's roles on it.
pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) store: Store,
    options: PgConnectOptions,
    name: String,
    secret_file: std::path::PathBuf,
    running: Vec<Running>,
}

/// A role that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    /// On the server named by `DATABASE_URL`.
    pub(crate) async fn new() -> Self {
        // What `main` does first: the HTTP client picks the process's TLS provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a Postgres to test on");
        let options: PgConnectOptions = url.parse().unwrap();
        let name = format!("judge_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect_with(&options).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        let pool = PgPoolOptions::new()
            .max_connections(12)
            .connect_with(options.clone().database(&name))
            .await
            .unwrap();
        let store = Store::from_pool(pool.clone());
        // Two migrations at once would both make the role fleet_reader, which all databases share.
        sqlx::query("SELECT pg_advisory_lock(20261122)").execute(&mut admin).await.unwrap();
        store.migrate().await.unwrap();
        admin.close().await.unwrap();
        let secret_file = std::env::temp_dir().join(format!("{name}.secret"));
        std::fs::write(&secret_file, SECRET).unwrap();
        Self { pool, store, options, name, secret_file, running: Vec::new() }
    }

    pub(crate) fn config(&self, webhook: Option<&str>, more: &str) -> Arc<Config> {
        let webhook = webhook.map(|url| {
            format!(
                "[[webhook]]\nname = 'pager'\nurl = '{url}'\nsecret-file = '{}'\nallow-private = {}\n",
                self.secret_file.display(),
                url.starts_with("http:")
            )
        });
        let text = format!(
            "evaluate-every = '100 ms'\n{}\n[drift]\nresolve-after = '300 ms'\n{more}",
            webhook.unwrap_or_default()
        );
        Arc::new(Config::parse(&text).unwrap())
    }

    /// Starts the evaluate role; its place among the running ones.
    pub(crate) fn evaluate(&mut self, config: &Arc<Config>) -> usize {
        let (stop, metrics) =
            (CancellationToken::new(), evaluate::Metrics::register(&mut Registry::default()));
        let task =
            tokio::spawn(evaluate::run(self.store.clone(), config.clone(), metrics, stop.clone()));
        self.running.push(Running { stop, task });
        self.running.len() - 1
    }

    /// Starts the notify role.
    pub(crate) fn notify(&mut self, config: &Arc<Config>) {
        let (stop, metrics) =
            (CancellationToken::new(), notify::Metrics::register(&mut Registry::default()));
        let task =
            tokio::spawn(notify::run(self.store.clone(), config.clone(), metrics, stop.clone()));
        self.running.push(Running { stop, task });
    }

    /// Ends a role, which must end well.
    pub(crate) async fn stop(&mut self, index: usize) {
        let running = self.running.remove(index);
        running.stop.cancel();
        running.task.await.unwrap().unwrap();
    }

    /// Ends everything and removes the database.
    pub(crate) async fn end(mut self) {
        while !self.running.is_empty() {
            self.stop(0).await;
        }
        self.pool.close().await;
        let mut admin = PgConnection::connect_with(&self.options).await.unwrap();
        let drop = AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        sqlx::query(drop).execute(&mut admin).await.unwrap();
        std::fs::remove_file(&self.secret_file).unwrap();
    }

    /// Enrols a host.
    pub(crate) async fn host(&self, name: &str, service: &str) -> i64 {
        sqlx::query_scalar(
            "INSERT INTO store.host (host_uuid, name, service, credential_hash)
             VALUES (gen_random_uuid(), $1, $2, sha256($1::bytea)) RETURNING host_id",
        )
        .bind(name)
        .bind(service)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// What ingest leaves of a report that comes in now: a window in ms, from one source.
    pub(crate) async fn report(&self, host_id: i64, lo_ms: i64, hi_ms: i64) {
        sqlx::query(
            "INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns,
                 lo_ns, hi_ns, offset_ns, drift_limit_ppb, kernel_max_error_ns,
                 kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status,
                 kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner)
             VALUES ($1, clock_timestamp(), clock_timestamp(), 1, 0, 0, $2, $3, ($2 + $3) / 2, 50000,
                 0, 0, 0, 0, true, 37, 1, 0, 2, 1, 2)
             ON CONFLICT (host_id) DO UPDATE
             SET ref_time = excluded.ref_time, received_at = excluded.received_at,
                 lo_ns = excluded.lo_ns, hi_ns = excluded.hi_ns, offset_ns = excluded.offset_ns",
        )
        .bind(host_id)
        .bind(lo_ms * MS)
        .bind(hi_ms * MS)
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO store.source_state (host_id, position, name, address, verdict, reach,
                 poll_log2, stratum, reference_id, root_delay_ns, root_dispersion_ns, accepted,
                 refused, leap, authentication, stamps)
             VALUES ($1, 0, '10.0.0.7', '10.0.0.7:123', 'selected', 255, 4, 2, 0, 0, 0, 9, 0, 1, 1, 2)
             ON CONFLICT DO NOTHING",
        )
        .bind(host_id)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until a count in the database is what it has to be.
    pub(crate) async fn until(&self, sql: &'static str, expected: i64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.number(sql).await;
            if found == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{found}, not {expected}: {sql}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A webhook as it arrived.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A real HTTP server that answers from a list of status codes, then 204 for ever.
pub(crate) struct Receiver {
    pub(crate) url: String,
    inbox: Arc<Mutex<Vec<Delivery>>>,
}

type Desk = (Arc<Mutex<Vec<Delivery>>>, Arc<Mutex<VecDeque<u16>>>);

impl Receiver {
    pub(crate) async fn start(answers: &[u16]) -> Self {
        let inbox = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<u16>>()));
        let app = Router::new().route("/hook", post(take)).with_state((inbox.clone(), answers));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, inbox }
    }

    /// Waits for the first `n` requests.
    pub(crate) async fn first(&self, n: usize) -> Vec<Delivery> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let inbox = self.inbox.lock().unwrap().clone();
            if inbox.len() >= n {
                return inbox;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} of {n} came", inbox.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn take(State((inbox, answers)): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    inbox.lock().unwrap().push(Delivery { headers, body: body.to_vec() });
    let status = answers.lock().unwrap().pop_front().unwrap_or(204);
    StatusCode::from_u16(status).unwrap()
}
