//! Rows as the other parts of the collector write them.

use sqlx::{AssertSqlSafe, PgPool};
use store::Store;
use store::tiers::Keep;
use timebase::Span;
use uuid::Uuid;

/// The id of the n-th host.
pub(crate) fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

pub(crate) async fn run(pool: &PgPool, sql: impl Into<String>) {
    let sql: String = sql.into();
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(pool)
        .await
        .unwrap_or_else(|e| panic!("{e}\n{sql}"));
}

/// Enrols host `n`; it has not reported.
pub(crate) async fn enrol(pool: &PgPool, n: u8, name: &str, service: &str) {
    sqlx::query("INSERT INTO store.host (host_uuid, name, service, credential_hash) VALUES ($1, $2, $3, $4)")
        .bind(uuid(n))
        .bind(name)
        .bind(service)
        .bind(vec![n])
        .execute(pool)
        .await
        .unwrap();
}

/// A host that reports a window, in ms, and was judged.
pub(crate) async fn host(
    pool: &PgPool,
    n: u8,
    name: &str,
    service: &str,
    answer: &str,
    lo: i64,
    hi: i64,
) {
    enrol(pool, n, name, service).await;
    let id = format!("(SELECT host_id FROM store.host WHERE host_uuid = '{}')", uuid(n));
    let window =
        format!("{lo}::int8 * 1000000, {hi}::int8 * 1000000, ({lo} + {hi})::int8 * 500000");
    report(pool, &id, &window, 2).await;
    run(pool, format!(
        "INSERT INTO store.assessment VALUES ({id}, '{answer}', 100000000, false, now() - interval '5 min');
         INSERT INTO store.source_state VALUES ({id}, 0, 'ntp.example:123', '192.0.2.1:123', 'selected',
            255, 4, 1, 2, 1, 40000, 2000, 1, x'47505300'::int8, 0, 120000, NULL, 7, 0, 1, 1, 2)"
    )).await;
}

/// A host with two sources, none of which answers, and no window.
pub(crate) async fn host_without_sources(pool: &PgPool, n: u8, name: &str) {
    enrol(pool, n, name, "").await;
    let id = format!("(SELECT host_id FROM store.host WHERE host_uuid = '{}')", uuid(n));
    report(pool, &id, "NULL, NULL, NULL", 4).await;
    for place in 0..2 {
        run(pool, format!(
            "INSERT INTO store.source_state VALUES ({id}, {place}, '192.0.2.{place}', '', 'no-answer-yet',
                0, 6, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0, 4, 1, 1)"
        )).await;
    }
}

async fn report(pool: &PgPool, id: &str, window: &str, state: u8) {
    run(pool, format!(
        "INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns,
            lo_ns, hi_ns, offset_ns, drift_limit_ppb, kernel_max_error_ns, kernel_estimated_error_ns,
            kernel_frequency_ppb, kernel_status, kernel_synchronised, tai_offset_s, boot_no, steps,
            state, leap, discipliner)
         VALUES ({id}, now(), now(), 1, 0, 0, {window}, 15000, 16000000000, 12000, -3170, 64, false,
            37, 1, 0, {state}, 1, 2)"
    )).await;
}

/// A partition that takes every sample of a test.
pub(crate) async fn partition(pool: &PgPool) {
    run(pool, "CREATE TABLE store.sample_all PARTITION OF store.sample FOR VALUES FROM (MINVALUE) TO (MAXVALUE)").await;
}

/// A sample of host `n`, so many seconds ago, in one clock epoch.
pub(crate) async fn sample(
    pool: &PgPool,
    n: u8,
    ago_s: f64,
    steps: i32,
    window: Option<(i64, i64)>,
) {
    sqlx::query(
        "INSERT INTO store.sample (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns,
            boot_no, steps, state, sources_used)
         SELECT host_id, now() - make_interval(secs => $2), ($2 * 1000)::int8, 0, 0, $3, $4, ($3 + $4) / 2,
            1, $5, 2, 1
         FROM store.host WHERE host_uuid = $1",
    )
    .bind(uuid(n))
    .bind(ago_s)
    .bind(window.map(|(lo, _)| lo))
    .bind(window.map(|(_, hi)| hi))
    .bind(steps)
    .execute(pool)
    .await
    .unwrap();
}

/// Tiers that are kept as by default, and a day of a megabyte in that of samples.
pub(crate) async fn tiers(pool: &PgPool) {
    let days = |days: i64| Span::from_secs(days * 86_400);
    let keep = Keep {
        raw: Span::from_secs(7_200),
        samples: days(30),
        minutes: days(30),
        hours: days(1_825),
        events: days(365),
    };
    let store = Store::from_pool(pool.clone());
    let now = store::time::from_sql(store.now().await.unwrap());
    store.maintain_partitions(now, &keep).await.unwrap();
    store.note_retention(&keep).await.unwrap();
    run(pool, "
        UPDATE store.tier_mark SET closed_until = now() - interval '2 hours 30 minutes',
            minutes_until = now() - interval '3 minutes', hours_until = now() - interval '1 hour';
        INSERT INTO store.sample_block
        SELECT n, date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 hour', 0, 0, now(), now(),
               0, 0, 0, 0, 1, 0, 1, repeat('1', 80000)::bit varying
        FROM generate_series(1, 100) n").await;
}

/// Findings and alerts about hosts 1 and 2.
pub(crate) async fn judgement(pool: &PgPool) {
    let host = |n| format!("(SELECT host_id FROM store.host WHERE host_uuid = '{}')", uuid(n));
    let (one, two) = (host(1), host(2));
    run(pool, format!(
        "INSERT INTO store.finding (finding_key, rule, policy, answer, summary, consequence, advice,
            host_id, peer_id, lo_ns, hi_ns, limit_ns, evidence, since, seen_at) VALUES
         ('token-skew:jws:policy', 'token-skew', 'jws', 'certain', 'ctl-1 is 700 ms ahead of ctl-2',
          'Tokens are refused.', 'Correct ctl-1.', {one}, {two}, 690000000, 710000000, 0,
          '{{\"leeway_ns\": 0, \"validators\": 41}}', now(), now()),
         ('token-skew:jws:host-1', 'token-skew', 'jws', 'certain', 'ctl-1 leads 1 host',
          'It alone breaks jws.', 'Look at ctl-1.', {one}, {two}, 690000000, 710000000, 0, '{{}}',
          now(), now()),
         ('log-skew:api:policy', 'log-skew', 'api', 'safe', 'No pair is further apart than 300 µs',
          'Nothing.', 'Nothing.', {one}, {two}, 0, 20000, 300000, '{{}}', now(), now()),
         ('log-skew:db:policy', 'log-skew', 'db', 'unknown', 'No host of service db reports',
          'Nobody can say.', 'Connect one.', NULL, NULL, NULL, NULL, 300000, '{{}}', now(), now());
         INSERT INTO store.alert (finding_key, rule, policy, answer, status, summary, consequence, advice,
            host_id, lo_ns, hi_ns, limit_ns, opened_at, changed_at, resolved_at) VALUES
         ('drift:budget:host-1', 'drift', 'budget', 'certain', 'open', 'ctl-1 is 700 ms ahead',
          'Tokens are refused.', 'Correct ctl-1.', {one}, 690000000, 710000000, 100000000,
          now() - interval '1 h', now() - interval '1 h', NULL),
         ('silent:silence:host-2', 'silent', 'silence', 'unknown', 'resolved', 'ctl-2 was silent',
          'Nothing was known.', 'Nothing.', {two}, NULL, NULL, NULL,
          now() - interval '3 h', now() - interval '2 h', now() - interval '2 h');
         INSERT INTO store.alert_transition (alert_id, at, reason, answer, summary)
         SELECT alert_id, opened_at, 'opened', answer, 'first words' FROM store.alert;
         INSERT INTO store.outbox (message_id, transition_id, endpoint, payload, status, attempts)
         SELECT gen_random_uuid(), transition_id, 'pager', '{{}}', 'parked', 1 FROM store.alert_transition;
         INSERT INTO store.delivery_attempt (message_id, attempt, at, error, duration_ms)
         SELECT message_id, 1, now(), 'connection refused', 12 FROM store.outbox"
    )).await;
}
