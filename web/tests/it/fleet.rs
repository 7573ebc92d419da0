use axum::http::StatusCode;
use sqlx::PgPool;
use store::pages::fleet::{FleetQuery, FleetSort};

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

/// Every answer in all places of an order by error, one of them of more than 20,000 hosts; the same error several
/// times, no window, and no report.
const MANY: &str = "
    SELECT setseed(0.5);
    INSERT INTO store.host (host_uuid, name, service, credential_hash)
    SELECT gen_random_uuid(), 'host-' || lpad((n * 7 % 26000)::text, 5, '0'), 's-' || n % 5, n::text::bytea
    FROM generate_series(1, 25000) n ORDER BY n;
    INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns, drift_limit_ppb,
        kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status, kernel_synchronised,
        tai_offset_s, boot_no, steps, state, leap, discipliner)
    SELECT host_id, now(), now(), 1, 0, 0, CASE WHEN host_id % 11 > 0 THEN -error END,
           CASE WHEN host_id % 11 > 0 THEN error / 2 END, 0, 0, 0, 0, 0, true, 37, 1, 0, 2, 1, 1
    FROM (SELECT host_id, CASE host_id % 10 WHEN 0 THEN 777777 ELSE (10 ^ (random() * 9))::int8 END AS error
          FROM store.host WHERE host_id % 13 > 0) h;
    INSERT INTO store.assessment
    SELECT host_id, CASE host_id % 40 WHEN 0 THEN 'certain' WHEN 1 THEN 'possible' WHEN 2 THEN 'possible'
                                      WHEN 3 THEN 'unknown' ELSE 'safe' END, 1000, false, now()
    FROM store.host;
    ANALYZE store.host_state; ANALYZE store.assessment;";

/// Proves that the worst of the whole fleet, which are found without reading all of it, are those of the plain sort
/// that any part of the fleet is shown by: page by page, answer by answer, and with hosts that nobody has judged.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn the_worst_are_found_without_reading_all(pool: PgPool) {
    data::run(&pool, MANY).await;
    let store = store::Store::from_pool(pool.clone());
    let asked = |name: &str, answer: &str, skip, take| FleetQuery {
        name: name.to_owned(),
        service: String::new(),
        answer: answer.to_owned(),
        sort: FleetSort::Worst,
        descending: false,
        skip,
        take,
    };
    for change in ["SELECT 1", "DELETE FROM store.assessment WHERE host_id % 9 = 2"] {
        data::run(&pool, change).await;
        for answer in ["", "certain", "possible", "unknown", "safe"] {
            for (skip, take) in
                [(0, 100), (600, 100), (2_450, 100), (0, 3_000), (20_700, 2_000), (24_950, 100)]
            {
                let mut shown = Vec::new();
                // Every name has a dash: all hosts as well, but sorted plainly.
                for name in ["", "-"] {
                    let query = asked(name, answer, skip, take);
                    let counts = store.fleet_counts(&query).await.unwrap();
                    let rows = store.fleet_rows(&query, &counts).await.unwrap();
                    let numbers = [
                        counts.certain,
                        counts.possible,
                        counts.unknown,
                        counts.safe,
                        counts.enrolled,
                    ];
                    shown.push((numbers, rows.iter().map(|row| row.host_uuid).collect::<Vec<_>>()));
                }
                assert_eq!(shown[0], shown[1], "{change}: {answer}, {take} after {skip}");
            }
        }
    }
    assert_eq!(store.services().await.unwrap(), ["s-0", "s-1", "s-2", "s-3", "s-4"]);
}
