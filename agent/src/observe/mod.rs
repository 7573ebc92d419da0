//! Metrics and health over HTTP.

mod metrics;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::local::Knowledge;

pub use metrics::{Exposition, Refusals};

/// A snapshot older than this many seconds means that the time path stands still.
const FRESH_S: f64 = 10.0;

/// Opens the port before anything else starts, so that a taken port is said at once.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot serve metrics on {address}: choose another address with --observe \
             (observe.listen), or --observe off"
        )
    })
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    exposition: Exposition,
    stop: CancellationToken,
) -> Result<()> {
    if let Ok(address) = listener.local_addr() {
        info!("metrics and health on http://{address}");
    }
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "the agent lives\n" }))
        .route("/readyz", get(readyz))
        .with_state(exposition);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

async fn metrics(State(exposition): State<Exposition>) -> impl IntoResponse {
    exposition.knowledge().renew().await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], exposition.text())
}

async fn readyz(State(exposition): State<Exposition>) -> impl IntoResponse {
    exposition.knowledge().renew().await;
    match not_ready(exposition.knowledge()) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// What is not ready, in words. An agent without a window is ready: saying so is its job.
fn not_ready(knowledge: &Knowledge) -> Option<&'static str> {
    match knowledge.age_s() {
        None => Some("the engine has not started"),
        Some(age) if age > FRESH_S => Some("the time path stands still"),
        Some(_) => None,
    }
}
