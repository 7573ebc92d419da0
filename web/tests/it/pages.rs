use axum::http::{Request, StatusCode, header};
use sqlx::PgPool;

use crate::data;
use crate::site::Site;

/// Proves that every page reads in full, and that none has anything inline that the policy forbids.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn every_page_reads_in_full(pool: PgPool) {
    data::host(&pool, 1, "ctl-1", "keystone", "certain", 690, 710).await;
    data::host(&pool, 2, "ctl-2", "keystone", "safe", -3, 2).await;
    data::judgement(&pool).await;
    data::tiers(&pool).await;
    let mut site = Site::signed_in(pool.clone()).await;
    let id: i64 = sqlx::query_scalar("SELECT alert_id FROM store.alert WHERE status = 'open'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let (host, alert) = (format!("/hosts/{}?range=6h", data::uuid(1)), format!("/alerts/{id}"));
    for (address, words) in [
        (
            "/",
            vec![
                "ctl-1",
                "certain",
                "ntp.example:123",
                "Offset and window are host clock minus UTC",
            ],
        ),
        (
            "/risks",
            vec![
                "ctl-1 is 700 ms ahead of ctl-2",
                "Tokens are refused.",
                "Correct ctl-1.",
                "+690 ms",
                "validators",
                "No host of service db reports",
                "No pair is further apart",
            ],
        ),
        ("/alerts", vec!["ctl-1 is 700 ms ahead", "ctl-2 was silent", "1 parked"]),
        ("/storage", vec!["The store grows by", "every sample, repacked by hours", "all tiers"]),
        (alert.as_str(), vec!["first words", "pager", "connection refused", "12.0 ms", "parked"]),
        (
            host.as_str(),
            vec![
                "ctl-1 is 690 to 710 ms ahead since",
                "agrees with the majority and has the narrowest bounds",
                "GPS",
                "16.0 s",
                "chronyd",
                "It alone breaks jws.",
                "data-series=\"/api/hosts/",
            ],
        ),
    ] {
        let page = site.get(address).await;
        assert_eq!(page.status, StatusCode::OK, "{address}");
        page.says(&words);
        for inline in [
            " style=\"",
            "<style",
            "<script>",
            " onclick=",
            "javascript:",
            "http-equiv",
            "<abbr title=\"\"",
        ] {
            assert!(!page.text.contains(inline), "{address} has {inline}");
        }
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    }
}

/// Proves that pages without data say what will appear and how to make it appear.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn empty_pages_say_how_to_fill_them(pool: PgPool) {
    let mut site = Site::empty(pool.clone());
    site.get("/sign-in").await.says(&["There is no user yet", "truechimer user add NAME"]);
    let mut site = Site::signed_in(pool.clone()).await;
    assert!(!site.get("/sign-in").await.text.contains("There is no user yet"));
    site.get("/").await.says(&["truechimer token create", "truechimer-agent run --collector"]);
    site.get("/risks").await.says(&["[[token-skew]]"]);
    site.get("/alerts").await.says(&["No alert is open"]);
    site.get("/storage").await.says(&["Nothing is kept yet.", "truechimer serve"]);
    data::enrol(&pool, 1, "new-host", "").await;
    site.get("/").await.says(&["new-host", "enrolled, no report yet"]);
    let host = site.get(&format!("/hosts/{}", data::uuid(1))).await;
    host.says(&["new-host is enrolled and has not reported yet."]);
}

/// Proves that a silent host is greyed with the time of its last data, and never called safe.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn silence_is_shown_as_stale(pool: PgPool) {
    data::host(&pool, 1, "quiet-1", "", "unknown", -3, 2).await;
    data::run(&pool, "UPDATE store.assessment SET silent = true").await;
    let mut site = Site::signed_in(pool).await;
    site.get("/").await.says(&["class=\"stale\"", "no data since"]);
    let host = site.get(&format!("/hosts/{}", data::uuid(1))).await;
    host.says(&["quiet-1 has not reported since", "No data since", "Unknown is not safe"]);
}

/// Proves that simulated hosts are labelled wherever they are named first.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn simulated_hosts_are_labelled(pool: PgPool) {
    data::host(&pool, 1, "ctl-1", "keystone", "certain", 690, 710).await;
    data::host(&pool, 2, "ctl-2", "keystone", "safe", -3, 2).await;
    data::judgement(&pool).await;
    let mut site = Site::signed_in(pool.clone()).await;
    assert!(!site.get("/").await.text.contains("simulated"));
    data::run(&pool, "UPDATE store.host SET simulated = true").await;
    for address in ["/", "/risks", "/alerts", &format!("/hosts/{}", data::uuid(1))] {
        site.get(address).await.says(&[">simulated<"]);
    }
}

/// Proves that assets are kept by browsers for as long as they do not change, and no longer.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn assets_carry_their_version(pool: PgPool) {
    let mut site = Site::empty(pool);
    let page = site.get("/sign-in").await;
    let (_, rest) = page.text.split_once("href=\"/static/tokens.css?v=").unwrap();
    let version = rest.split('"').next().unwrap().to_owned();
    let fresh = site.get(&format!("/static/tokens.css?v={version}")).await;
    assert_eq!(fresh.headers[header::CONTENT_TYPE], "text/css; charset=utf-8");
    assert!(fresh.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    assert_eq!(
        site.get("/static/tokens.css?v=old").await.headers[header::CACHE_CONTROL],
        "no-cache"
    );
    let again = Request::get("/static/tokens.css")
        .header(header::IF_NONE_MATCH, &fresh.headers[header::ETAG])
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(site.page(again).await.status, StatusCode::NOT_MODIFIED);
    for missing in ["/static/nothing.css", "/static/../Cargo.toml", "/static/%2e%2e/Cargo.toml"] {
        assert_eq!(site.get(missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
    assert_eq!(site.get("/static/vendor/uPlot.iife.min.js").await.status, StatusCode::OK);
}

/// Proves that a policy is told once, with its culprits beneath it, and that a host's page tells what
/// the host is guilty of and not the policy as well.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn culprits_stand_beneath_their_policy(pool: PgPool) {
    data::host(&pool, 1, "ctl-1", "keystone", "certain", 690, 710).await;
    data::host(&pool, 2, "ctl-2", "keystone", "safe", -3, 2).await;
    data::judgement(&pool).await;
    let mut site = Site::signed_in(pool).await;
    let risks = site.get("/risks").await;
    risks.says(&["1 policy broken or at risk. About 1 policy nobody can say."]);
    risks.in_order(&[
        "At risk",
        "ctl-1 is 700 ms ahead of ctl-2",
        "Because of",
        "ctl-1 leads 1 host",
        ">Unknown<",
        ">Safe<",
    ]);
    let host = site.get(&format!("/hosts/{}", data::uuid(1))).await;
    host.says(&["ctl-1 leads 1 host", "It alone breaks jws."]);
    assert!(!host.text.contains("ctl-1 is 700 ms ahead of ctl-2"), "told twice");
    assert!(!host.text.contains("No pair is further apart"), "what is safe does not break");
}

/// Proves that the page tells what is measured of the oscillator, how leap seconds are treated and what
/// is special about a source, and that nothing of it is shown where there is nothing to tell.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn facts_about_clock_and_sources_are_told(pool: PgPool) {
    data::host(&pool, 1, "ctl-1", "keystone", "safe", -3, 2).await;
    let mut site = Site::signed_in(pool.clone()).await;
    let address = format!("/hosts/{}", data::uuid(1));
    let before = site.get(&address).await;
    before.says(&["not measured, assumed ± 15 ppm", "chronyd"]);
    for silent in ["Leap smear", "TAI − UTC", "interleaved", "NTS", "asymmetric", "class=\"tag\""]
    {
        assert!(!before.text.contains(silent), "{silent}");
    }
    data::run(
        &pool,
        "UPDATE store.host_state SET rate_lo_ppb = -12300, rate_hi_ppb = -10900,
             drift_ceiling_ppb = 50000, smear = 'linear-24h', leap_table_tai_s = 37, discipliner = 7;
         UPDATE store.source_state SET kind = 'phc', authentication = 3, interleaved = true,
             verdict = 'offline', least_delay_ns = 2900, smear = 'quadratic',
             asymmetry_lo_ns = -2000, asymmetry_hi_ns = -1000",
    )
    .await;
    site.get(&address).await.says(&[
        "measured −12.3 to −10.9 ppm, ceiling ± 50 ppm",
        "linear-24h",
        "evenly from noon to noon",
        "37 s",
        "this agent",
        "is not asked, as somebody told this host",
        ">phc<",
        "a hardware clock of PTP",
        ">NTS<",
        ">interleaved<",
        "quadratic smear",
        "least 2.90 µs",
        "the delay back from this server is 1.00 µs to 2.00 µs longer",
    ]);
}
