use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use sqlx::PgPool;
use tokio_stream::StreamExt;

use crate::site::Site;

/// Well beyond what a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Proves that what the database announces reaches a browser as an event of that name, and that the
/// stream says every few seconds that it lives.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn announcements_reach_the_browser(pool: PgPool) {
    let mut site = Site::signed_in(pool.clone()).await;
    let response = site.send(Request::get("/live").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut heard = String::new();
    let wanted = [
        "event: tick\ndata: connected\n",
        "event: samples\ndata: changed\n",
        "event: findings\ndata: changed\n",
        "event: alerts\ndata: changed\n",
    ];
    let listening = async {
        while !wanted.iter().all(|event| heard.contains(event)) {
            // Announced again and again, because the listener may not listen yet.
            for change in ["samples", "findings", "alerts"] {
                sqlx::query("SELECT pg_notify('truechimer', $1)")
                    .bind(change)
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            let chunk = stream.next().await.expect("the stream goes on").unwrap();
            heard.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    let done = tokio::time::timeout(DEADLINE, listening).await;
    assert!(done.is_ok(), "only heard: {heard}");
}

/// Proves that a graceful stop need not wait for browsers.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn closing_ends_every_stream(pool: PgPool) {
    let mut site = Site::signed_in(pool).await;
    let response = site.send(Request::get("/live").body(Body::empty()).unwrap()).await;
    let mut stream = response.into_body().into_data_stream();
    stream.next().await.expect("a first event").unwrap();
    site.close();
    let drained = async { while stream.next().await.is_some() {} };
    assert!(tokio::time::timeout(DEADLINE, drained).await.is_ok(), "the stream goes on");
    let late = site.get("/live").await;
    assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
}
