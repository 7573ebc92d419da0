use axum::http::StatusCode;
use sqlx::PgPool;

use crate::data;
use crate::site::Site;

/// Proves that wrong addresses get a page that says what is wrong, and scripts plain text.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn wrong_addresses_are_explained(pool: PgPool) {
    data::enrol(&pool, 1, "ctl-1", "").await;
    let mut site = Site::signed_in(pool).await;
    let (known, unknown) = (data::uuid(1), data::uuid(9));
    for (address, status) in [
        ("/nowhere".to_owned(), StatusCode::NOT_FOUND),
        (format!("/hosts/{unknown}"), StatusCode::NOT_FOUND),
        ("/hosts/not-an-id".to_owned(), StatusCode::NOT_FOUND),
        ("/alerts/99".to_owned(), StatusCode::NOT_FOUND),
        ("/alerts/x".to_owned(), StatusCode::NOT_FOUND),
        ("/?answer=perhaps".to_owned(), StatusCode::BAD_REQUEST),
        (format!("/hosts/{known}?range=1y"), StatusCode::BAD_REQUEST),
    ] {
        let page = site.get(&address).await;
        assert_eq!(page.status, status, "{address}");
        page.says(&["<h1>", "Try again", "All other pages work."]);
    }
    let script = site.get(&format!("/api/hosts/{unknown}/series")).await;
    assert_eq!(script.status, StatusCode::NOT_FOUND);
    assert!(!script.text.contains('<'), "{}", script.text);
}

/// Proves that a lost database is said in words that tell nothing of its inside, with a retry.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn a_lost_database_is_said(pool: PgPool) {
    let mut site = Site::signed_in(pool).await;
    site.store.close().await;
    for address in ["/", "/risks", "/storage", "/sign-in"] {
        let page = site.get(address).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{address}");
        page.says(&["The database does not answer", "nothing is lost", "Try again"]);
        assert_eq!(page.headers["refresh"], "5");
        assert!(!page.text.to_lowercase().contains("pool"));
    }
}
