use axum::http::{StatusCode, header};
use sqlx::PgPool;

use crate::site::{NAME, PASSWORD, Site};

/// Proves that nothing is shown to somebody who is not signed in, and that sign-in leads back.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn every_page_asks_who_you_are(pool: PgPool) {
    let mut site = Site::with_user(pool).await;
    let host = format!("/hosts/{}", crate::data::uuid(1));
    for page in ["/", "/risks", "/alerts", "/alerts/1", host.as_str()] {
        let answer = site.get(page).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{page}");
        assert_eq!(answer.location(), format!("/sign-in?next={page}"));
    }
    for machine in ["/live", &format!("/api{host}/series")] {
        assert_eq!(site.get(machine).await.status, StatusCode::UNAUTHORIZED, "{machine}");
    }
    for form in ["/theme", "/sign-out"] {
        assert_eq!(site.post(form, &[("csrf", "x")]).await.status, StatusCode::SEE_OTHER, "{form}");
    }
    let csrf = site.get("/sign-in?next=/risks").await.csrf();
    let form =
        [("csrf", csrf.as_str()), ("name", NAME), ("password", PASSWORD), ("next", "/risks")];
    assert_eq!(site.post("/sign-in", &form).await.location(), "/risks");
    assert_eq!(site.get("/risks").await.status, StatusCode::OK);
}

/// Proves that a wrong password and an unknown name are told apart by nobody, and that guessing ends.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn guessing_tells_nothing_and_ends(pool: PgPool) {
    let mut site = Site::with_user(pool).await;
    let wrong = site.sign_in(NAME, "wrong").await;
    let nobody = site.sign_in("nobody", PASSWORD).await;
    assert_eq!((wrong.status, nobody.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    let words = "Name and password do not fit together.";
    wrong.says(&[words]);
    nobody.says(&[words]);
    let mut last = StatusCode::UNAUTHORIZED;
    for _ in 0..10 {
        last = site.sign_in(NAME, "wrong").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let right = site.sign_in(NAME, PASSWORD).await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS, "even the right one has to wait");
}

/// Proves that a form without the session's token changes nothing.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn forged_forms_are_refused(pool: PgPool) {
    let mut site = Site::with_user(pool).await;
    site.get("/sign-in").await;
    let forged = [("csrf", "forged"), ("name", NAME), ("password", PASSWORD)];
    assert_eq!(site.post("/sign-in", &forged).await.status, StatusCode::FORBIDDEN);
    site.sign_in(NAME, PASSWORD).await;

    let theme = [("csrf", "forged"), ("theme", "dark"), ("back", "/")];
    let refused = site.post("/theme", &theme).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    refused.says(&["Refused", "Nothing was changed"]);
    assert_eq!(site.cookie("truechimer_theme"), None);
    assert_eq!(site.post("/sign-out", &[("csrf", "forged")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.get("/").await.status, StatusCode::OK, "still signed in");

    // The token of another session of the same user does not fit either.
    let mut other = site.other_browser();
    other.sign_in(NAME, PASSWORD).await;
    let theirs = other.get("/").await.csrf();
    assert_eq!(site.post("/sign-out", &[("csrf", &theirs)]).await.status, StatusCode::FORBIDDEN);
}

/// Proves that the theme is pinned without scripts and that signing out ends the session for good.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn theme_and_sign_out_work_without_scripts(pool: PgPool) {
    let mut site = Site::signed_in(pool).await;
    let page = site.get("/").await;
    assert!(!page.text.contains("data-theme"));
    let csrf = page.csrf();
    let pin = [("csrf", csrf.as_str()), ("theme", "dark"), ("back", "/risks")];
    assert_eq!(site.post("/theme", &pin).await.location(), "/risks");
    site.get("/").await.says(&["data-theme=\"dark\""]);

    let secret = site.cookie("truechimer_session").unwrap().to_owned();
    assert_eq!(site.post("/sign-out", &[("csrf", &csrf)]).await.location(), "/sign-in");
    let replay = axum::http::Request::get("/")
        .header(header::COOKIE, format!("truechimer_session={secret}"))
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(site.other_browser().page(replay).await.status, StatusCode::SEE_OTHER);
}

/// Proves that the database holds nothing that lets its reader in, and that scripts cannot read the cookie.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn secrets_are_kept_as_digests(pool: PgPool) {
    let mut site = Site::with_user(pool.clone()).await;
    let answer = site.sign_in(NAME, PASSWORD).await;
    let cookies = answer.headers.get_all(header::SET_COOKIE);
    let cookie =
        cookies.iter().filter_map(|c| c.to_str().ok()).find(|c| c.contains("_session=")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let secret = site.cookie("truechimer_session").unwrap();
    let kept: Vec<u8> = sqlx::query_scalar("SELECT session_hash FROM store.web_session")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(kept.len(), 32);
    assert_ne!(kept, secret.as_bytes());
    let expired = "UPDATE store.web_session SET expires_at = now() - interval '1 s'";
    sqlx::query(expired).execute(&pool).await.unwrap();
    assert_eq!(site.get("/").await.status, StatusCode::SEE_OTHER, "a session ends");
}
