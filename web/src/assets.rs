//! Style sheets and scripts, from inside the binary.

use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use serde::Deserialize;

use crate::Error;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Assets;

/// The address of an asset; it changes with the content, so browsers may keep it for good.
pub(crate) fn url(path: &str) -> String {
    match Assets::get(path) {
        Some(file) => format!("/static/{path}?v={}", version(&file)),
        None => format!("/static/{path}"),
    }
}

#[derive(Deserialize)]
pub(crate) struct Version {
    v: Option<String>,
}

pub(crate) async fn serve(
    Path(path): Path<String>,
    Query(asked): Query<Version>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let file = Assets::get(&path).ok_or(Error::NotFound)?;
    let version = version(&file);
    let tag = format!("\"{version}\"");
    let cache = if asked.v.as_deref() == Some(&version) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known =
        headers.get(header::IF_NONE_MATCH).is_some_and(|etag| etag.as_bytes() == tag.as_bytes());
    let meta = [
        (header::CACHE_CONTROL, cache.to_owned()),
        (header::ETAG, tag),
        (header::CONTENT_TYPE, content_type(&path).to_owned()),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, meta).into_response());
    }
    Ok((meta, file.data).into_response())
}

fn version(file: &rust_embed::EmbeddedFile) -> String {
    file.metadata.sha256_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
