//! The pages: what people see of the fleet, its risks and its alerts.
//!
//! [`router`] gives an axum router over a [`WebState`]; the collector mounts it. Every page reads in full
//! without JavaScript. This crate holds no SQL (that is `store::pages`), reads no clock (ages are
//! relative to the database's) and cannot write measurements: what it writes is sessions.

mod assets;
mod error;
mod headers;
mod live;
mod pages;
mod present;
mod session;
mod sign_in;
mod state;
mod theme;

pub use error::Error;
pub use sign_in::password;
pub use state::{WebConfig, WebState};

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

/// Every page, on `state`. Serve it with connect info (`SocketAddr`), by which sign-in is rate-limited.
pub fn router(state: WebState) -> Router {
    Router::new()
        .route("/", get(pages::fleet::show))
        .route("/risks", get(pages::risks::show))
        .route("/hosts/{uuid}", get(pages::host::show))
        .route("/api/hosts/{uuid}/series", get(pages::series::show))
        .route("/alerts", get(pages::alerts::list))
        .route("/alerts/{id}", get(pages::alerts::detail))
        .route("/storage", get(pages::storage::show))
        .route("/live", get(live::stream))
        .route("/theme", post(theme::pin))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/static/{*path}", get(assets::serve))
        .fallback(error::no_such_page)
        .layer(middleware::from_fn(error::render))
        .layer(middleware::from_fn(headers::secure))
        .with_state(state)
}
