use axum::http::StatusCode;
use sqlx::PgPool;

use crate::data;
use crate::site::Site;

async fn four_hosts(pool: &PgPool) {
    data::host(pool, 1, "ctl-1", "keystone", "certain", 690, 710).await;
    data::host(pool, 2, "ctl-2", "keystone", "safe", -3, 2).await;
    data::host(pool, 3, "net-1", "neutron", "possible", 60, 140).await;
    data::host_without_sources(pool, 4, "net-2").await;
}

/// Proves that the worst stand first, with counts, signs and units; and that unknown is not safe.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn the_worst_stand_first(pool: PgPool) {
    four_hosts(&pool).await;
    let mut site = Site::signed_in(pool).await;
    let page = site.get("/").await;
    page.in_order(&[">ctl-1<", ">net-1<", ">net-2<", ">ctl-2<"]);
    page.says(&["+700 ms", "+690 ms", "+710 ms", "+700000000 ns", "1 to 4 of 4 hosts"]);
    for count in ["certain", "possible", "unknown", "safe"] {
        let link = format!("<a class=\"count {count}\" href=\"/?answer={count}\"");
        let (_, rest) = page.text.split_once(&link).unwrap_or_else(|| panic!("no {link}"));
        assert!(
            rest.split_once("class=\"n\">").unwrap().1.starts_with("1<"),
            "{count} is counted once"
        );
    }
}

/// Proves that a host none of whose sources answers says so, and what its kernel knows.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn no_source_is_said_plainly(pool: PgPool) {
    data::host_without_sources(&pool, 1, "lonely").await;
    let mut site = Site::signed_in(pool).await;
    let words =
        "no time source answers: window unknown; kernel says not synchronised, max error 16.0 s";
    site.get("/").await.says(&[words, "unknown"]);
    site.get(&format!("/hosts/{}", data::uuid(1))).await.says(&[
        "The window of lonely is unknown",
        "no time source answers",
        "16.0 s",
        "has not answered yet",
    ]);
}

/// Proves that filter, order and page are in the address alone.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn filter_sort_and_page_by_address(pool: PgPool) {
    four_hosts(&pool).await;
    let mut site = Site::signed_in(pool.clone()).await;
    let has = |page: &crate::site::Page, host: &str| page.text.contains(&format!(">{host}<"));
    let page = site.get("/?service=keystone").await;
    assert!(has(&page, "ctl-1") && has(&page, "ctl-2") && !has(&page, "net-1"));
    let page = site.get("/?q=NET&answer=possible").await;
    assert!(has(&page, "net-1") && !has(&page, "net-2") && !has(&page, "ctl-1"));
    site.get("/?q=nowhere").await.says(&["No host fits the filter", "4 hosts enrolled"]);
    // What looks like a pattern is taken as it stands.
    site.get("/?q=%25").await.says(&["No host fits the filter"]);
    site.get("/?sort=host").await.in_order(&[">ctl-1<", ">ctl-2<", ">net-1<", ">net-2<"]);
    site.get("/?sort=host&dir=desc").await.in_order(&[">net-2<", ">net-1<", ">ctl-2<", ">ctl-1<"]);
    site.get("/?sort=offset").await.in_order(&[">ctl-2<", ">net-1<", ">ctl-1<", ">net-2<"]);
    site.get("/?sort=width&dir=desc").await.in_order(&[">net-1<", ">ctl-1<", ">ctl-2<", ">net-2<"]);
    for sort in ["worst", "service", "since", "state", "source", "report"] {
        assert_eq!(
            site.get(&format!("/?sort={sort}&dir=desc")).await.status,
            StatusCode::OK,
            "{sort}"
        );
    }
    for n in 0..120u8 {
        data::enrol(&pool, 100 + n, &format!("more-{n:03}"), "").await;
    }
    let first = site.get("/?sort=host&q=more").await;
    first.says(&["1 to 100 of 120 hosts", "page=2"]);
    assert!(!has(&first, "more-100"));
    let second = site.get("/?sort=host&q=more&page=2").await;
    second.says(&["101 to 120 of 120 hosts", ">more-119<"]);
}

/// Proves that a hostile host name is text, wherever it is shown.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn host_names_are_text(pool: PgPool) {
    let name = "<script>alert(1)</script>\"'&";
    data::host(&pool, 1, name, "<b>", "certain", 690, 710).await;
    let mut site = Site::signed_in(pool).await;
    let host = format!("/hosts/{}", data::uuid(1));
    for address in ["/", "/?q=%3Cscript%3E%22", host.as_str()] {
        let page = site.get(address).await;
        assert!(!page.text.contains("<script>alert"), "{address}");
        assert!(!page.text.contains("value=\"<script>\"\""), "{address}");
    }
    site.get(&host).await.says(&["&#60;script&#62;alert(1)&#60;/script&#62;"]);
}
