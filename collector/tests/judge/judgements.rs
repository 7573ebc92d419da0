use crate::world::World;

const OPEN: &str = "SELECT count(*) FROM store.alert WHERE status = 'open'";
const ALERTS: &str = "SELECT count(*) FROM store.alert";
const RESOLVED: &str = "SELECT count(*) FROM store.alert WHERE status = 'resolved'";

/// Two collectors judge one fleet: one alert opens, not two, and when the one that judges stops, the
/// other takes over, knows the open alert and resolves it.
#[tokio::test]
async fn two_collectors_judge_as_one() {
    let mut world = World::new().await;
    let host = world.host("ctl-3", "keystone").await;
    world.report(host, 2998, 3002).await;
    let config = world
        .config(None, "[[token-skew]]\nname = 'none'\n[[log-skew]]\nname = 'none'\ngap = '1 s'");
    let first = world.evaluate(&config);
    world.until(OPEN, 1).await;
    world.evaluate(&config);
    // Nobody else gets the seat while the first has it, so the second can only wait.
    let now = collector::clock::now();
    assert!(world.store.take_seat(now).await.unwrap().is_none());
    assert_eq!(world.number(ALERTS).await, 1);
    world.stop(first).await;
    world.report(host, -1, 1).await;
    world.until(RESOLVED, 1).await;
    assert_eq!(world.number(ALERTS).await, 1);
    let story = "SELECT string_agg(reason || ' ' || answer, ', ' ORDER BY transition_id)
                 FROM store.alert_transition";
    assert_eq!(world.text(story).await, "opened certain, resolved safe");
    world.end().await;
}

/// The evaluator survives the loss of every connection it has, and judges what happens afterwards.
#[tokio::test]
async fn a_lost_database_is_waited_for() {
    let mut world = World::new().await;
    let host = world.host("cmp-1", "nova-compute").await;
    world.report(host, 0, 1).await;
    let config = world.config(None, "");
    world.evaluate(&config);
    world.until("SELECT count(*) FROM store.assessment WHERE answer = 'safe'", 1).await;
    let killed = world
        .number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    assert!(killed > 0);
    world.report(host, -400, -399).await;
    world.until(OPEN, 1).await;
    world.end().await;
}

/// Every policy says what it finds, in words and numbers, and a host that is revoked is not watched.
#[tokio::test]
async fn findings_say_what_breaks() {
    let mut world = World::new().await;
    let issuer = world.host("ctl-3", "keystone").await;
    world.report(issuer, 700, 720).await;
    for n in 0..4 {
        let id = world.host(&format!("api-{n}"), "nova-api").await;
        world.report(id, -1, 1).await;
    }
    let config = world.config(None, "");
    world.evaluate(&config);
    let culprit = "SELECT count(*) FROM store.finding
                   WHERE rule = 'token-skew' AND answer = 'certain' AND host_id IS NOT NULL";
    world.until(culprit, 2).await;
    let said = "SELECT consequence FROM store.finding
                WHERE finding_key LIKE 'token-skew:keystone-jws:host-%'";
    assert!(world.text(said).await.contains(
        "of the fresh tokens of ctl-3 are refused on 4 of 4 validators as not yet valid"
    ));
    let evidence = "SELECT (evidence->>'pairs_certain')::int8 FROM store.finding
                    WHERE finding_key = 'token-skew:keystone-jws:policy'";
    assert_eq!(world.number(evidence).await, 4);
    let alerts = "SELECT string_agg(finding_key, ' ' ORDER BY rule) FROM store.alert";
    assert_eq!(
        world.text(alerts).await,
        format!("drift:budget:host-{issuer} token-skew:keystone-jws:host-{issuer}"),
        "one alert for each thing that breaks, none for the policy as a whole"
    );
    let order = "SELECT count(*) FROM store.finding WHERE rule = 'log-skew' AND answer = 'safe'";
    assert_eq!(world.number(order).await, 1);
    let summary = "SELECT summary FROM store.alert WHERE rule = 'drift'";
    assert_eq!(world.text(summary).await, "ctl-3 is 700 to 720 ms ahead.");
    sqlx::query("UPDATE store.host SET revoked_at = now() WHERE host_id = $1")
        .bind(issuer)
        .execute(&world.pool)
        .await
        .unwrap();
    world.until("SELECT count(*) FROM store.assessment", 4).await;
    world.until("SELECT count(*) FROM store.finding WHERE rule = 'drift'", 0).await;
    world.end().await;
}

/// Possible opens only where it lasts, and a refreshed alert says what is now.
#[tokio::test]
async fn an_open_alert_says_what_is_now() {
    let mut world = World::new().await;
    let host = world.host("cmp-42", "nova-compute").await;
    world.report(host, 50, 150).await;
    let config = world.config(None, "possible-after = '1 s'");
    world.evaluate(&config);
    world.until(OPEN, 1).await;
    assert_eq!(world.text("SELECT answer FROM store.alert").await, "possible");
    world.report(host, 500, 501).await;
    let worsened = "SELECT count(*) FROM store.alert
                    WHERE answer = 'certain' AND summary = 'cmp-42 is 500 to 501 ms ahead.'";
    world.until(worsened, 1).await;
    world.report(host, 800, 801).await;
    let refreshed = "SELECT count(*) FROM store.alert WHERE summary LIKE '% 800 to 801 ms ahead.'";
    world.until(refreshed, 1).await;
    world.report(host, 0, 1).await;
    world.until(RESOLVED, 1).await;
    let story = "SELECT string_agg(reason, ' ' ORDER BY transition_id) FROM store.alert_transition";
    assert_eq!(world.text(story).await, "opened worsened resolved");
    world.end().await;
}

/// A host that falls silent is told once, is unknown rather than safe meanwhile, and its drift alert
/// stays open: silence is no cure. When it reports again, both are over.
#[tokio::test]
async fn silence_is_no_cure() {
    let mut world = World::new().await;
    let host = world.host("cmp-7", "nova-compute").await;
    world.report(host, 400, 401).await;
    let config = world.config(None, "[silence]\nlimit = '5 s'\nresolve-after = '300 ms'");
    world.evaluate(&config);
    world.until(OPEN, 1).await;
    world
        .until("SELECT count(*) FROM store.assessment WHERE silent AND answer = 'unknown'", 1)
        .await;
    let rules = "SELECT string_agg(rule, ' ' ORDER BY rule) FROM store.alert WHERE status = 'open'";
    world.until(OPEN, 2).await;
    assert_eq!(world.text(rules).await, "drift silent");
    world.report(host, 0, 1).await;
    world.until(RESOLVED, 2).await;
    world
        .until("SELECT count(*) FROM store.assessment WHERE NOT silent AND answer = 'safe'", 1)
        .await;
    assert_eq!(world.number(ALERTS).await, 2);
    world.end().await;
}

/// One host that reports absurd rates does not keep the others from being judged.
#[tokio::test]
async fn absurd_rates_of_one_host_blind_nobody() {
    let mut world = World::new().await;
    let hostile = world.host("hostile", "nova-compute").await;
    world.report(hostile, 0, 1).await;
    world
        .text(
            "UPDATE store.host_state
             SET kernel_frequency_ppb = -9223372036854775808, drift_limit_ppb = 9223372036854775807
             RETURNING 'done'",
        )
        .await;
    let wrong = world.host("cmp-7", "nova-compute").await;
    world.report(wrong, 400, 401).await;
    let config = world.config(None, "");
    world.evaluate(&config);
    let judged = "SELECT count(*) FROM store.assessment a JOIN store.host h USING (host_id)
                  WHERE h.name = 'cmp-7' AND a.answer = 'certain'";
    world.until(judged, 1).await;
    world.end().await;
}

/// A window ages by what is not known of the clock's rate: a host that is steered well, by somebody whom
/// the agent does not know, grows by 1 ppm where one of an older agent grows by both rates.
#[tokio::test]
async fn a_measured_rate_ages_the_window_slowly() {
    use timebase::{Bounds, Ppb, Span};

    let world = World::new().await;
    for (name, rates) in [("a", "-21000, rate_hi_ppb = -19000"), ("b", "NULL")] {
        let host = world.host(name, "nova-compute").await;
        world.report(host, 0, 1).await;
        let set = format!(
            "UPDATE store.host_state SET discipliner = 1, kernel_frequency_ppb = 20000,
                 rate_lo_ppb = {rates} WHERE host_id = {host}"
        );
        sqlx::query(sqlx::AssertSqlSafe(set)).execute(&world.pool).await.unwrap();
    }
    let now = collector::clock::now();
    let mut seat = world.store.take_seat(now).await.unwrap().unwrap();
    let view = seat.fleet_view(now).await.unwrap();
    let limits: Vec<Ppb> = view.hosts.iter().map(|host| host.window.unwrap().rate_limit).collect();
    assert_eq!(limits, [Ppb::from_ppm(1), Ppb::from_ppm(70)]);
    let (host, sampled_at) = (&view.hosts[0], view.hosts[0].window.unwrap().sampled_at);
    let aged = host.bounds_at(sampled_at + Span::from_secs(10), Span::from_secs(35)).unwrap();
    assert_eq!(aged, Bounds::between(Span::from_ns(-10_000), Span::from_ns(1_010_000)));
    seat.leave().await.unwrap();
    world.end().await;
}
