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
use crate::{evaluate, ingest, notify};

mod housekeeping;
mod roles;

pub use roles::{Role, Roles};

/// A running collector. Dropping it does not stop it: call [`App::stop`].
pub struct App {
    config: Arc<Config>,
    database: Database,
    health: Health,
    grpc: Option<ingest::Server>,
    pages: Option<Pages>,
    observe: Http,
    judges: Vec<(Role, JoinHandle<anyhow::Result<()>>)>,
    judges_stop: CancellationToken,
    housekeeping: JoinHandle<()>,
    failed: CancellationToken,
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
            true => Some(bind("[web] listen", config.web.listen).await?),
            false => None,
        };
        let database = Database::open(&config).await?;
        let store = database.store.clone();
        let mut registry = Registry::with_prefix("truechimer");
        let health = Health::default();
        let failed = CancellationToken::new();
        let judges_stop = CancellationToken::new();

        store.maintain_partitions(crate::clock::now(), config.retention.samples).await?;
        let housekeeping = tokio::spawn(housekeeping::run(
            store.clone(),
            config.retention.samples,
            judges_stop.clone(),
        ));
        let grpc = match grpc_at {
            Some(at) => {
                let metrics = ingest::Metrics::register(&mut registry);
                Some(ingest::Server::start(at, store.clone(), &config.ingest, metrics)?)
            }
            None => None,
        };
        let mut judges = Vec::new();
        let watch = Watch { health: health.clone(), failed: failed.clone() };
        if roles.has(Role::Evaluate) {
            let metrics = evaluate::Metrics::register(&mut registry);
            let run = evaluate::run(store.clone(), config.clone(), metrics, judges_stop.clone());
            judges.push((Role::Evaluate, watch.spawn(Role::Evaluate, run)));
        }
        if roles.has(Role::Notify) {
            let metrics = notify::Metrics::register(&mut registry);
            let run = notify::run(store.clone(), config.clone(), metrics, judges_stop.clone());
            judges.push((Role::Notify, watch.spawn(Role::Notify, run)));
        }
        let pages = web_at.map(|at| Pages::serve(at, store.clone(), &config));
        let router = observe::router(registry, health.clone(), store);
        let observe = Http::serve(observe_at, router);
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
            failed,
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

    /// Returns when a role has ended although nobody stopped it.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops in the order in which data flows: no new sessions, what was received is committed and
    /// acknowledged, then the judges, the pages, the connections, the private cluster.
    pub async fn stop(self) {
        self.health.not_ready("collector", "is stopping");
        if let Some(grpc) = self.grpc {
            grpc.stop().await;
        }
        self.judges_stop.cancel();
        for (role, task) in self.judges {
            if let Err(error) = task.await {
                tracing::error!(role = role.word(), %error, "role ended badly");
            }
        }
        if self.housekeeping.await.is_err() {
            tracing::error!("housekeeping ended badly");
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

/// Notices a role that ends by itself.
struct Watch {
    health: Health,
    failed: CancellationToken,
}

impl Watch {
    fn spawn(
        &self,
        role: Role,
        run: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> JoinHandle<anyhow::Result<()>> {
        let (health, failed) = (self.health.clone(), self.failed.clone());
        tokio::spawn(async move {
            let ended = run.await;
            if let Err(error) = &ended {
                tracing::error!(role = role.word(), "role failed: {error:#}");
                health.not_ready(role.word(), format!("failed: {error}"));
                failed.cancel();
            }
            ended
        })
    }
}

/// The web role.
struct Pages {
    http: Http,
    state: web::WebState,
}

impl Pages {
    fn serve(at: (TcpListener, SocketAddr), store: Store, config: &Config) -> Self {
        let state = web::WebState::new(
            store,
            web::WebConfig {
                secure_cookies: config.web.secure_cookies,
                silence_limit: config.silence.limit,
            },
        );
        Self { http: Http::serve(at, web::router(state.clone())), state }
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
    fn serve((listener, address): (TcpListener, SocketAddr), router: Router) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            let served = axum::serve(listener, service).with_graceful_shutdown(stopped).await;
            if let Err(error) = served {
                tracing::error!(%error, %address, "HTTP server ended");
            }
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
