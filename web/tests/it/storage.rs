use sqlx::PgPool;
use web::WebConfig;

use crate::data;
use crate::site::Site;

/// Of a collector with a private cluster: on the disk of the root folder.
async fn with_disk(pool: PgPool) -> Site {
    let config = WebConfig { cluster: Some("/".into()), ..WebConfig::default() };
    Site::signed_in_with(pool, config).await
}

/// Proves that the page tells every tier with what it holds, its size and its growth; that the disk and its end are
/// told where it is ours to see, and that it is said where it is not.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn tiers_and_the_disk_beneath(pool: PgPool) {
    data::tiers(&pool).await;
    let mut external = Site::signed_in(pool.clone()).await;
    let page = external.get("/storage").await;
    page.says(&[
        "The store grows by 1.",
        "a server of your own",
        "none with truechimer db backup",
        "2 h ago",
    ]);
    page.in_order(&[
        "data-key=\"raw\"",
        "data-key=\"late\"",
        "data-key=\"samples\"",
        "data-key=\"minutes\"",
        "data-key=\"hours\"",
        "data-key=\"events\"",
        "data-key=\"all\"",
        "other tables of the database",
    ]);
    assert!(!page.text.contains("everything else on the disk"), "no disk is ours to see");

    let mut site = with_disk(pool.clone()).await;
    let page = site.get("/storage").await;
    page.says(&[
        "The disk holds what is to be kept.",
        "everything else on the disk",
        "No backup was ever made",
    ]);
    assert!(!page.text.contains("class=\"beyond\""), "it fits");

    // A hundred terabytes.
    data::run(
        &pool,
        "UPDATE store.tier SET keep = interval '100000000 days' WHERE tier = 'samples'",
    )
    .await;
    let page = site.get("/storage").await;
    page.says(&[
        "The disk is full in",
        "are free.",
        "[retention]",
        "class=\"beyond\"",
        "lead warn",
    ]);
    let backup = "INSERT INTO store.backup (made_at, took_ms, bytes, file)
                  VALUES (now() - interval '3 h', 5, 4200000, '/backup/fleet.dump')";
    data::run(&pool, backup).await;
    let page = site.get("/storage").await;
    page.says(&["3 h ago, 4.2 MB", "/backup/fleet.dump"]);
    assert!(!page.text.contains("No backup was ever made"));
}

/// Proves that growth which is not known yet is not made up.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn unknown_growth_is_said(pool: PgPool) {
    data::tiers(&pool).await;
    data::run(&pool, "TRUNCATE store.sample_block").await;
    let page = with_disk(pool).await.get("/storage").await;
    page.says(&["The samples of the fleet take", "is known after a whole day"]);
    assert!(!page.text.contains("The disk"), "nothing is foretold");
}

/// Proves that the page says when tiers have stood still and when no sample came, and that it does not say so of
/// those that are on time.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn what_stands_still_is_said(pool: PgPool) {
    data::tiers(&pool).await;
    data::host(&pool, 1, "ctl-1", "keystone", "safe", -3, 2).await;
    let mut site = Site::signed_in(pool.clone()).await;
    let late = ["No sample since", "Samples are rolled up to", "Hours are repacked to"];
    let page = site.get("/storage").await;
    assert!(late.iter().all(|words| !page.text.contains(words)), "{}", page.text);
    data::run(
        &pool,
        "UPDATE store.tier_mark SET minutes_until = now() - interval '2 h', closed_until = now() - interval '9 h';
         UPDATE store.host_state SET ref_time = now() - interval '3 h'",
    )
    .await;
    let page = site.get("/storage").await;
    assert!(!page.text.contains(late[1]), "of a new database: no sample waits");
    data::sample(&pool, 1, 3_600.0, 0, None).await;
    site.get("/storage").await.says(&late);
}

/// Proves that a host whose reports are refused stands there with the reason in words and a link, that names are text,
/// and that a long list says that it is one.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn refused_hosts_are_listed(pool: PgPool) {
    data::host(&pool, 1, "<i>ctl-1</i>", "", "safe", -3, 2).await;
    data::enrol(&pool, 2, "ctl-2", "").await;
    data::run(
        &pool,
        "INSERT INTO store.refusal (host_id, reason, count, last_at, detail)
         SELECT host_id, 'wrong-host', 7, now() - interval '5 min', '<b>of ctl-9</b>' FROM store.host
         WHERE name <> 'ctl-2';
         INSERT INTO store.refusal (host_id, reason, count, last_at, detail)
         SELECT host_id, 'over-quota', 3, now(), '' FROM store.host WHERE name = 'ctl-2'",
    )
    .await;
    let mut site = Site::signed_in(pool.clone()).await;
    let page = site.get("/storage").await;
    page.in_order(&[">ctl-2<", ">over-quota<", "&#60;i&#62;ctl-1", ">wrong-host<"]);
    page.says(&[
        "The credential is another host",
        &format!("/hosts/{}", data::uuid(1)),
        "5 min ago",
    ]);
    let host = site.get(&format!("/hosts/{}", data::uuid(1))).await;
    host.says(&["wrong-host", "The credential is another host", "&#60;b&#62;of ctl-9"]);
    assert!(
        !page.text.contains("<b>of ctl-9") && !page.text.contains("fleet.refusals"),
        "{}",
        page.text
    );
    data::run(
        &pool,
        "INSERT INTO store.refusal (host_id, reason, count, last_at, detail)
         SELECT host_id, 'reason-' || n, 1, now(), '' FROM store.host, generate_series(1, 60) n",
    )
    .await;
    site.get("/storage").await.says(&["Only the newest are shown", "fleet.refusals"]);
}
