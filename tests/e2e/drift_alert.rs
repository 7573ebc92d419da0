use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use house_tests::{AgentKnobs, Claims, Delivery, Folder, House, NtpServer, Receiver, eventually};
use serde_json::Value;
use standardwebhooks::Webhook;
use timebase::Span;

/// 24 random bytes would do; these make a failure readable.
const SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGlzIHRlc3QgaXMgbm90IG9uZQ==";
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Proves that a host 3 s off is called certain within two report intervals of its first window, that
/// a signed webhook says so to a receiver which verifies it independently, also when the first
/// delivery fails, and that the alert resolves once the time is right again.
#[tokio::test]
async fn a_host_three_seconds_off_raises_an_alert_that_resolves() -> Result<()> {
    let secrets = Folder::new()?;
    let secret_file = secrets.path().join("webhook-secret");
    fs::write(&secret_file, SECRET)?;
    let receiver = Receiver::start(1).await?;
    let settings = format!(
        "evaluate-every = \"500 ms\"\n[[webhook]]\nname = \"test\"\nurl = {:?}\nsecret-file = {:?}\n\
         allow-private = true\n",
        receiver.url(),
        secret_file
    );
    let house = House::start(&settings).await?;
    let source = NtpServer::start(Claims { offset: -Span::from_secs(3), ..Claims::default() })?;
    let host = "three-seconds";
    let knobs =
        AgentKnobs { host: host.into(), servers: vec![source.name()], ..AgentKnobs::default() };
    let _agent = house.agent(knobs).await?;
    let reader = house.reader().await?;

    let first = super::windows(&reader, host, 1).await?[0];
    let seen = Instant::now();
    assert!(first.0 > 2_900_000_000 && first.1 < 3_100_000_000, "3 s ahead is {first:?} ns");
    let alert = async |status: &'static str, answer: &'static str| {
        eventually("the alert", super::SOON, async || {
            let alerts: Vec<(String, String)> = sqlx::query_as(
                "SELECT status, answer FROM alerts WHERE rule = 'drift' AND host = $1",
            )
            .bind(host)
            .fetch_all(&reader)
            .await?;
            let wanted = alerts.iter().any(|(s, a)| s == status && a == answer);
            Ok(if wanted { Ok(()) } else { Err(alerts) })
        })
        .await
    };
    alert("open", "certain").await?;
    let took = seen.elapsed();
    assert!(took <= 2 * REPORT_INTERVAL, "the alert took {took:?}");

    let opened = delivery(&receiver, "opened").await?;
    assert_eq!(opened["data"]["host"], host, "{opened}");
    assert_eq!(opened["data"]["answer"], "certain", "{opened}");
    let ahead = opened["data"]["lo_ns"].as_i64();
    assert!(ahead.is_some_and(|ns| ns > 2_900_000_000), "by how much? {opened}");

    source.change(|claims| claims.offset = Span::ZERO);
    alert("resolved", "certain").await?;
    delivery(&receiver, "resolved").await?;

    let attempts: Vec<(Option<i32>, i32)> = sqlx::query_as(
        "SELECT http_status, attempt FROM store.delivery_attempt ORDER BY at, attempt LIMIT 1",
    )
    .fetch_all(&house.owner().await?)
    .await?;
    assert_eq!(attempts, [(Some(503), 1)], "the refused first delivery is not on record");
    Ok(())
}

/// The drift alert's message for one transition, its signature verified.
async fn delivery(receiver: &Receiver, reason: &str) -> Result<Value> {
    eventually("a webhook", super::SOON, async || {
        let mut seen = Vec::new();
        for delivery in receiver.inbox() {
            let message = verified(&delivery)?;
            if message["data"]["rule"] == "drift" && message["type"] == format!("alert.{reason}") {
                return Ok(Ok(message));
            }
            seen.push(message.to_string());
        }
        Ok(Err(seen))
    })
    .await
}

fn verified(delivery: &Delivery) -> Result<Value> {
    let verifier = Webhook::new(SECRET)?;
    verifier
        .verify(&delivery.body, &delivery.headers)
        .with_context(|| format!("signature of {:?}", delivery.headers))?;
    let mut forged = delivery.body.clone();
    forged[0] ^= 1;
    anyhow::ensure!(verifier.verify(&forged, &delivery.headers).is_err(), "a forgery passes");
    Ok(serde_json::from_slice(&delivery.body)?)
}
