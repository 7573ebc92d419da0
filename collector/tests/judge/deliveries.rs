use standardwebhooks::Webhook;
use timebase::Span;

use crate::world::{Receiver, SECRET, World};

const DELIVERED: &str = "SELECT count(*) FROM store.outbox WHERE status = 'delivered'";
const PARKED: &str = "SELECT count(*) FROM store.outbox WHERE status = 'parked'";
const ATTEMPTS: &str = "SELECT count(*) FROM store.delivery_attempt";

/// A host 3 s ahead opens an alert that a receiver gets, signed so that an independent implementation
/// verifies it; once the clock is cured, the receiver is told that it is over.
#[tokio::test]
async fn drift_is_told_and_so_is_its_cure() {
    let mut world = World::new().await;
    let receiver = Receiver::start(&[]).await;
    let config = world.config(Some(&receiver.url), "");
    world.evaluate(&config);
    world.notify(&config);
    let host = world.host("ctl-3", "keystone").await;
    world.report(host, 2998, 3002).await;

    let opened = &receiver.first(1).await[0];
    Webhook::new(SECRET).unwrap().verify(&opened.body, &opened.headers).unwrap();
    let json = opened.json();
    assert_eq!(json["type"], "alert.opened");
    assert_eq!(json["data"]["rule"], "drift");
    assert_eq!(json["data"]["answer"], "certain");
    assert_eq!(json["data"]["host"], "ctl-3");
    assert_eq!(json["data"]["summary"], "ctl-3 is 3.00 s ahead.");
    assert_eq!(json["data"]["limit_ns"], 100_000_000);
    assert!(json["data"]["lo_ns"].as_i64().unwrap() > 2_900_000_000);
    assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));

    world.report(host, -2, 2).await;
    let resolved = &receiver.first(2).await[1];
    Webhook::new(SECRET).unwrap().verify(&resolved.body, &resolved.headers).unwrap();
    assert_eq!(resolved.json()["type"], "alert.resolved");
    assert_eq!(resolved.json()["data"]["alert_id"], json["data"]["alert_id"]);
    assert_ne!(resolved.header("webhook-id"), opened.header("webhook-id"));
    world.until(DELIVERED, 2).await;
    world.end().await;
}

/// A receiver that fails gets the same message again, under the same id, until it takes it.
#[tokio::test]
async fn a_failed_delivery_is_repeated() {
    let mut world = World::new().await;
    let receiver = Receiver::start(&[503]).await;
    let config = world.config(Some(&receiver.url), "");
    world.evaluate(&config);
    world.notify(&config);
    let host = world.host("ctl-3", "").await;
    world.report(host, 2998, 3002).await;
    let tries = receiver.first(2).await;
    assert_eq!(tries[0].body, tries[1].body);
    assert_eq!(tries[0].header("webhook-id"), tries[1].header("webhook-id"));
    world.until(DELIVERED, 1).await;
    let story = "SELECT string_agg(http_status::text, ' ' ORDER BY attempt)
                 FROM store.delivery_attempt";
    assert_eq!(world.text(story).await, "503 204");
    world.end().await;
}

/// A receiver that is gone for good is not asked again; the attempt stays visible with its reason.
#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone() {
    let mut world = World::new().await;
    let receiver = Receiver::start(&[410]).await;
    let config = world.config(Some(&receiver.url), "");
    world.evaluate(&config);
    world.notify(&config);
    let host = world.host("ctl-3", "").await;
    world.report(host, 2998, 3002).await;
    world.until(PARKED, 1).await;
    assert_eq!(world.number(ATTEMPTS).await, 1);
    assert_eq!(world.text("SELECT error FROM store.delivery_attempt").await, "answered 410 Gone");
    assert_eq!(receiver.first(1).await.len(), 1);
    world.end().await;
}

/// A name that leads to loopback is refused when it is resolved, and the attempt says so.
#[tokio::test]
async fn a_name_cannot_lead_inside() {
    let mut world = World::new().await;
    let config = world.config(Some("https://localhost:1/hook"), "");
    world.evaluate(&config);
    world.notify(&config);
    let host = world.host("ctl-3", "").await;
    world.report(host, 2998, 3002).await;
    world.until(ATTEMPTS, 1).await;
    let error = world.text("SELECT error FROM store.delivery_attempt").await;
    assert!(error.contains("loopback address without allow-private"), "{error}");
    assert!(!error.contains("/hook"), "{error}");
    world.end().await;
}

/// What a crash left between claim and delivery falls due again and is delivered.
#[tokio::test]
async fn a_crash_after_the_claim_loses_nothing() {
    let mut world = World::new().await;
    let receiver = Receiver::start(&[]).await;
    let config = world.config(Some(&receiver.url), "");
    world.evaluate(&config);
    let host = world.host("ctl-3", "").await;
    world.report(host, 2998, 3002).await;
    world.until("SELECT count(*) FROM store.outbox", 1).await;
    let now = collector::clock::now();
    let claim = async |endpoint: &str| {
        let endpoints = [endpoint.to_owned()];
        world.store.claim_messages(&endpoints, now, Span::from_secs(2), 16).await.unwrap()
    };
    assert!(claim("elsewhere").await.is_empty(), "another collector's endpoint");
    let lost = claim("pager").await;
    assert_eq!(lost.len(), 1);
    assert!(claim("pager").await.is_empty(), "a claim is exclusive");
    world.notify(&config);
    let delivered = receiver.first(1).await;
    assert_eq!(delivered[0].header("webhook-id"), lost[0].id.to_string());
    world.until(DELIVERED, 1).await;
    assert_eq!(world.number("SELECT max(attempt)::int8 FROM store.delivery_attempt").await, 2);
    world.end().await;
}

/// A message that this version cannot read is parked with the reason and holds nothing up.
#[tokio::test]
async fn an_unreadable_message_holds_nothing_up() {
    let mut world = World::new().await;
    let receiver = Receiver::start(&[]).await;
    let config = world.config(Some(&receiver.url), "");
    world.evaluate(&config);
    for name in ["ctl-1", "ctl-2"] {
        let host = world.host(name, "").await;
        world.report(host, 2998, 3002).await;
    }
    world.until("SELECT count(*) FROM store.outbox", 2).await;
    sqlx::query(
        "UPDATE store.outbox SET payload = '{\"from\": \"the future\"}' WHERE message_id =
             (SELECT message_id FROM store.outbox ORDER BY transition_id LIMIT 1)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.notify(&config);
    world.until(DELIVERED, 1).await;
    world.until(PARKED, 1).await;
    let why = "SELECT error FROM store.delivery_attempt WHERE error IS NOT NULL";
    assert!(world.text(why).await.starts_with("the message cannot be read: missing field"));
    world.end().await;
}

/// What is over for longer than retention goes with all that it led to; what is open, what is younger
/// and what still waits to be told stays.
#[tokio::test]
async fn old_alerts_are_pruned() {
    use timebase::Span;

    let world = World::new().await;
    for (key, status, days_ago, told) in [
        ("old", "resolved", 400, "delivered"),
        ("parked", "resolved", 400, "parked"),
        ("waits", "resolved", 400, "pending"),
        ("young", "resolved", 300, "delivered"),
        ("open", "open", 400, "delivered"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "WITH a AS (
                 INSERT INTO store.alert (finding_key, rule, policy, answer, status, summary,
                     consequence, advice, opened_at, changed_at, resolved_at)
                 VALUES ('{key}', 'drift', 'budget', 'certain', '{status}', '', '', '',
                     now() - interval '500 d', now() - interval '500 d',
                     CASE '{status}' WHEN 'resolved' THEN now() - interval '{days_ago} d' END)
                 RETURNING alert_id),
             t AS (
                 INSERT INTO store.alert_transition (alert_id, at, reason, answer, summary)
                 SELECT alert_id, now(), 'opened', 'certain', '' FROM a RETURNING transition_id),
             o AS (
                 INSERT INTO store.outbox (message_id, transition_id, endpoint, payload, status)
                 SELECT gen_random_uuid(), transition_id, 'pager', '{{}}', '{told}' FROM t
                 RETURNING message_id)
             INSERT INTO store.delivery_attempt (message_id, attempt, at, duration_ms)
             SELECT message_id, 1, now(), 1 FROM o"
        )))
        .execute(&world.pool)
        .await
        .unwrap();
    }
    let (now, keep) = (collector::clock::now(), Span::from_secs(365 * 86_400));
    assert_eq!(world.store.prune_alerts(now, keep).await.unwrap(), 2);
    let left = "SELECT string_agg(finding_key, ' ' ORDER BY finding_key) FROM store.alert";
    assert_eq!(world.text(left).await, "open waits young");
    for table in [
        "SELECT count(*) FROM store.alert_transition",
        "SELECT count(*) FROM store.outbox",
        "SELECT count(*) FROM store.delivery_attempt",
    ] {
        assert_eq!(world.number(table).await, 3, "{table}");
    }
    assert_eq!(world.store.prune_alerts(now, keep).await.unwrap(), 0, "a second round has no work");
    world.end().await;
}
