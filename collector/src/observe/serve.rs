use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::Store;

use super::Health;

/// A database that takes longer to answer is not one to be ready with.
const PING_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Observed {
    registry: Arc<Registry>,
    health: Health,
    store: Store,
    database_up: Gauge,
}

/// `/metrics`, `/healthz`, `/readyz`.
pub fn router(mut registry: Registry, health: Health, store: Store) -> Router {
    let database_up = Gauge::default();
    registry.register("database_up", "Whether the database answers", database_up.clone());
    let registry = Arc::new(registry);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(Observed { registry, health, store, database_up })
}

async fn metrics(State(observed): State<Observed>) -> Response {
    observed.database_up.set(observed.database().await.is_ok().into());
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &observed.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, KIND)], text).into_response()
}

/// 200, or 503 with what is missing in words.
async fn readyz(State(observed): State<Observed>) -> Response {
    let mut missing = observed.health.missing();
    if let Err(why) = observed.database().await {
        missing.push(format!("database: {why}"));
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}

impl Observed {
    /// Whether the database answers, in words for anybody: the error itself may quote a URL.
    async fn database(&self) -> Result<(), &'static str> {
        match tokio::time::timeout(PING_LIMIT, self.store.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("does not answer"),
            Err(_) => Err("answers too slowly"),
        }
    }
}
