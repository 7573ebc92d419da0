//! One process, any set of roles: started in order, stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use prometheus_client::registry::Registry;
use store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::database::Database;
use crate::observe::{self, Health};
use crate::{evaluate, ingest, notify, postgres};

mod housekeeping;
mod roles;
mod time_limit;
mod watch;

pub use housekeeping::Housekeeper;
pub use roles::{Role, Roles};
pub(crate) use watch::Watch;

/// A running collector. Dropping it does not stop it: call [`App::stop`].
pub struct App {
    config: Arc<Config>,
    database: Database,
    health: Health,
    grpc: Option<ingest::Server>,
    pages: Option<Pages>,
    observe: Http,
    judges: Vec<JoinHandle<()>>,
    judges_stop: CancellationToken,
    housekeeping: JoinHandle<()>,
    time_limit: JoinHandle<()>,
    watch: Watch,
}

impl App {
    /// Binds every address, opens the database, brings the schema up to date and starts the roles.
    ///
    /// # Errors
    /// An address, the database or a certificate cannot be used.
    pub async fn start(config: Config, roles: Roles) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        // Addresses first: a port in use shows within milliseconds.
        let observe_at = bind("[observe] listen", config.observe.listen).await?;
        let grpc_at = match roles.has(Role::Ingest) {
            true => Some(ingest::Listener::bind(&config.grpc).await?),
            false => None,
        };
        let web_at = match roles.has(Role::Web) {
            true => {
                config.web.check()?;
                Some(bind("[web] listen", config.web.listen).await?)
            }
            false => None,
        };
        let database = Database::open(&config).await?;
        let store = database.store.clone();
        let mut registry = Registry::with_prefix("truechimer");
        let health = Health::default();
        let watch = Watch::new(health.clone());
        let judges_stop = CancellationToken::new();

        if database.embedded.is_some() {
            store.shut_functions().await?;
        }
        // Of a new database, before its marks begin.
        let behind = store.tiers_are_behind(crate::clock::now(), &config.retention.tiers()).await?;
        // Nothing is dropped yet: first it must be known how late it is.
        store.make_partitions(crate::clock::now()).await?;
        store.note_retention(&config.retention.tiers()).await?;
        let keep = config.retention.clone();
        let mut housekeeper = Housekeeper::new(store.clone(), keep, health.clone(), &mut registry);
        // Known from the start: whoever has a wrong clock had better not be given agents.
        housekeeper.trusts(crate::clock::now).await;
        let housekeeping =
            watch.spawn("housekeeping", housekeeper.run(behind, judges_stop.clone()));
        let time_limit = time_limit::run(store.clone(), config.sql.time_limit, judges_stop.clone());
        let time_limit = watch.spawn("time limit of SQL users", time_limit);
        let grpc = match grpc_at {
            Some(at) => {
                let metrics = ingest::Metrics::register(&mut registry);
                let store = database.ingest.clone();
                Some(ingest::Server::start(at, store, &config.ingest, metrics, &watch))
            }
            None => None,
        };
        let mut judges = Vec::new();
        if roles.has(Role::Evaluate) {
            let metrics = evaluate::Metrics::register(&mut registry);
            let run = evaluate::run(store.clone(), config.clone(), metrics, judges_stop.clone());
            judges.push(watch.spawn(Role::Evaluate.word(), run));
        }
        if roles.has(Role::Notify) {
            let metrics = notify::Metrics::register(&mut registry);
            let run = notify::run(store.clone(), config.clone(), metrics, judges_stop.clone());
            judges.push(watch.spawn(Role::Notify.word(), run));
        }
        let pages = web_at.map(|at| Pages::serve(at, &database, &config, &watch));
        let router = observe::router(registry, health.clone(), store);
        let observe = Http::serve(observe_at, router, "observe", &watch);
        let app = Self {
            config,
            database,
            health,
            grpc,
            pages,
            observe,
            judges,
            judges_stop,
            housekeeping,
            time_limit,
            watch,
        };
        app.say_where();
        Ok(app)
    }

    fn say_where(&self) {
        if let Some(at) = self.web_address() {
            tracing::info!("web pages at http://{at}");
        }
        if let Some(at) = self.grpc_address() {
            tracing::info!("agents connect to {at}");
        }
        tracing::info!("metrics and health at http://{}", self.observe_address());
    }

    /// Where agents connect, with the port that was chosen.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(ingest::Server::address)
    }

    /// Where people connect.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.pages.as_ref().map(|pages| pages.http.address)
    }

    /// Where metrics and health are.
    pub fn observe_address(&self) -> SocketAddr {
        self.observe.address
    }

    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The database it runs on.
    pub fn store(&self) -> &Store {
        &self.database.store
    }

    /// The database with its private cluster, if it has one.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What keeps it from being ready.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Returns when a part of it has ended although nobody stopped it.
    pub async fn failed(&self) {
        self.watch.failed().await;
    }

    /// Stops in the order in which data flows: no new sessions, what was received is committed and
    /// acknowledged, then the judges, the pages, the connections, the private cluster.
    pub async fn stop(self) {
        self.health.not_ready("collector", "is stopping");
        self.watch.stopping();
        if let Some(grpc) = self.grpc {
            grpc.stop().await;
        }
        self.judges_stop.cancel();
        for task in self.judges.into_iter().chain([self.housekeeping, self.time_limit]) {
            // How it ended, its watch has said.
            let _ = task.await;
        }
        if let Some(pages) = self.pages {
            pages.state.close();
            pages.http.stop().await;
        }
        self.observe.stop().await;
        self.database.close().await;
        tracing::info!("stopped");
    }
}

/// The web role.
struct Pages {
    http: Http,
    state: web::WebState,
}

impl Pages {
    fn serve(
        at: (TcpListener, SocketAddr),
        database: &Database,
        config: &Config,
        watch: &Watch,
    ) -> Self {
        let state = web::WebState::new(
            database.pages.clone(),
            web::WebConfig {
                secure_cookies: config.web.secure_cookies,
                silence_limit: config.silence.limit,
                cluster: database.embedded.is_some().then(|| postgres::folder(&config.data_dir())),
            },
        );
        let router = web::router(state.clone());
        Self { http: Http::serve(at, router, Role::Web.word(), watch), state }
    }
}

/// An HTTP server that can be stopped.
struct Http {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Open pages hold their live-update stream for ever; they get so long to end by themselves.
const HTTP_DRAIN: std::time::Duration = std::time::Duration::from_secs(2);

impl Http {
    fn serve(
        (listener, address): (TcpListener, SocketAddr),
        router: Router,
        part: &'static str,
        watch: &Watch,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = watch.spawn(part, async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            let served = axum::serve(listener, service).with_graceful_shutdown(stopped);
            served.await.with_context(|| format!("HTTP server on {address}"))
        });
        Self { address, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(HTTP_DRAIN, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn bind(key: &str, at: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener =
        TcpListener::bind(at).await.with_context(|| format!("{key}: cannot listen on {at}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
