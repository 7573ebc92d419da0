use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
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
}

/// `/metrics`, `/healthz`, `/readyz`.
pub fn router(registry: Arc<Registry>, health: Health, store: Store) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(Observed { registry, health, store })
}

async fn metrics(State(observed): State<Observed>) -> Response {
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
    match tokio::time::timeout(PING_LIMIT, observed.store.ping()).await {
        Ok(Ok(())) => {}
        // The error may quote a URL: the log has it, this page does not.
        Ok(Err(_)) => missing.push("database: does not answer".into()),
        Err(_) => missing.push(format!("database: no answer within {PING_LIMIT:?}")),
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}
