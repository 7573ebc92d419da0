//! The platform on Citus: the same migrations, the same code, the same answers.

use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use store::Store;
use timebase::{Span, Timestamp};

use crate::several::{INGEST, move_between_collectors};
use crate::support::World;
use crate::support::citus::{Database, server};
use crate::tiers::KEEP;

/// Monday 2026-01-05 00:00 UTC; what is filled in is of the three hours after it.
const BEGIN_S: i64 = 1_767_571_200;

/// Four hosts that report every 20 s: one steps back, one has a gap, one is silent, one has no window at times.
const FILL: &str = "
    INSERT INTO store.host (host_uuid, name, service, credential_hash, enrolled_at)
    SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'host-' || n, 'service-' || n % 2, n::text::bytea,
           to_timestamp(1767571200)
    FROM generate_series(1, 4) n ORDER BY n;
    INSERT INTO store.boot (host_id, boot_id, boot_no, last_seq, steps)
    SELECT host_id, host_uuid, 1, 539, 0 FROM store.host;
    INSERT INTO store.sample
    SELECT h, to_timestamp(1767571200 + n * 20), n, 1767571200000000000 + n * 20000000000 + off
               - CASE WHEN h = 2 AND n > 300 THEN 5000000000 ELSE 0 END,
           7000000000000 + n * 20000000000, CASE WHEN h <> 4 OR n % 7 > 0 THEN off - 900000 - n END,
           CASE WHEN h <> 4 OR n % 7 > 0 THEN off + 900000 + n END, off, 9000 + n % 100, -20000 + n % 50,
           1, CASE WHEN h = 2 AND n > 300 THEN 1 ELSE 0 END, 2 + (n % 97 = 0)::int4, 3,
           CASE WHEN n % 5 > 0 THEN 4000 + n END, 4000
    FROM (SELECT h, n, (h * 10000000 + n % 13 * 1000)::int8 AS off
          FROM generate_series(1, 4) h, generate_series(0, 539) n
          WHERE h <> 3 OR n NOT BETWEEN 100 AND 200) s;
    INSERT INTO store.epoch
    SELECT host_id, boot_no, steps, ref_time, host_ns, raw_ns, seq FROM store.sample
    WHERE seq = 0 OR host_id = 2 AND seq = 301;
    INSERT INTO store.event VALUES
        (2, 1, 301, 0, to_timestamp(1767571200 + 6020), 0, 0, 'step', -5000000000, 'stepped'),
        (3, 1, 201, 0, to_timestamp(1767571200 + 4020), 0, 0, 'suspend', 2000000000000, 'slept');
    INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns,
        drift_limit_ppb, kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status,
        kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner)
    SELECT host_id, ref_time, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, 50000, 0, 0, 0, 0, true, 37, 1, steps,
           state, 1, 1
    FROM store.sample WHERE seq = 539;
    INSERT INTO store.source_state (host_id, position, name, address, verdict, reach, poll_log2, offset_ns,
        stratum, reference_id, root_delay_ns, root_dispersion_ns, accepted, refused, leap, authentication, stamps)
    SELECT h, p, 'source-' || p, '192.0.2.' || p, CASE p WHEN 1 THEN 'selected' ELSE 'falseticker' END, 255, 6,
           h * p, 2, 3221225986, 0, 9, 1, 0, 1, 1, 1
    FROM generate_series(1, 4) h, generate_series(1, 2) p;
    INSERT INTO store.refusal
    SELECT host_id, 'malformed', 1, ref_time, 'a test' FROM store.host_state WHERE host_id = 3;
    INSERT INTO store.assessment
    SELECT host_id, CASE host_id WHEN 1 THEN 'safe' ELSE 'certain' END, 15000000, host_id = 3, ref_time
    FROM store.host_state;
    INSERT INTO store.finding (finding_key, rule, policy, answer, summary, consequence, advice, host_id, lo_ns, hi_ns,
        limit_ns, since, seen_at)
    SELECT 'drift:' || host_id, 'drift', 'drift', 'certain', 'a summary', 'a consequence', 'advice', host_id, 1, 2, 1,
           ref_time, ref_time FROM store.host_state WHERE host_id = 2;
    INSERT INTO store.alert (finding_key, rule, policy, answer, status, summary, consequence, advice, host_id, lo_ns,
        hi_ns, limit_ns, opened_at, changed_at)
    SELECT finding_key, rule, policy, answer, 'open', summary, consequence, advice, host_id, lo_ns, hi_ns, limit_ns,
           since, since FROM store.finding;
    INSERT INTO store.alert_transition (alert_id, at, reason, answer, summary)
    SELECT alert_id, opened_at, 'opened', answer, summary FROM store.alert;
    INSERT INTO store.outbox (message_id, transition_id, endpoint, payload, status, attempts, created_at,
        next_attempt_at)
    SELECT '00000000-0000-0000-0000-000000000009', transition_id, 'on-call', '{}', 'pending', 1, at, at
    FROM store.alert_transition;
    INSERT INTO store.delivery_attempt (message_id, attempt, at, http_status, duration_ms)
    SELECT message_id, 1, created_at, 500, 7 FROM store.outbox;
    INSERT INTO store.rollup_dirty (host_id, hour, first_at, last_at)
    SELECT h, to_timestamp(1767571200) + n * interval '1 hour', to_timestamp(1767571200 + 600) + n * interval '1 hour',
           to_timestamp(1767571200 + 900) + n * interval '1 hour'
    FROM generate_series(1, 3) h, generate_series(0, 1) n;
    INSERT INTO fleet.log_line (batch, line_no, host, local_ns, loaded_by)
    SELECT 'all', n, 'host-' || n % 5, 1767571200000000000 + (n * 7919 % 10900)::int8 * 1000000000, session_user
    FROM generate_series(1, 200) n;";

/// Everything that people ask, one row and column each.
const QUESTIONS: &[&str] = &[
    "host_now",
    "samples",
    "sources_now",
    "events",
    "alerts",
    "findings",
    "deliveries",
    "drifting",
    "windows_by_service",
    "grandmasters_now",
    "refusals",
    "fleet_history",
    "worst(3)",
    "widest(2)",
    "samples_of('host-2', to_timestamp(1767571200 + 3000), to_timestamp(1767571200 + 9000))",
    "host_history('host-1', to_timestamp(1767571200), to_timestamp(1767571200 + 10800), 3)",
    "host_history('host-2', to_timestamp(1767571200), to_timestamp(1767571200 + 10800), 60)",
    "host_history('host-3', to_timestamp(1767571200), to_timestamp(1767571200 + 10800), 600)",
    "coverage(to_timestamp(1767571200), to_timestamp(1767571200 + 10800))",
    "coverage(to_timestamp(1767571200), to_timestamp(1767571200 + 10800), '10 minutes', 'host-3')",
    "utc_window('host-1', 1767571200000000000 + 4321000000000)",
    "utc_window('host-2', 1767571200000000000 + 10000000000000)",
    "utc_window('host-3', to_timestamp(1767571200 + 10500))",
    "utc_window('host-4', 1767571200000000000 + 10790000000000)",
    "order_of('host-1', 1767581000000000000, 'host-4', 1767581000000000000)",
    "order_of('host-1', 1767581000000000000, 'host-2', 1767581001000000000)",
    "skew('host-1', 'host-4', to_timestamp(1767571200 + 10501))",
    "order_lines('all')",
    "order_lines(ARRAY['host-1', 'host-2'], ARRAY[1767581000000000000, 1767581000000000000])",
];

/// Fills a database and asks it, as people do.
async fn answers(store: &Store, pool: &PgPool) -> Vec<String> {
    let begin = format!(
        "UPDATE store.tier_mark SET sealed_until = t, closed_until = t, minutes_sealed = t, minutes_until = t,
                                    minutes_packed = t, hours_until = t, samples_from = t, minutes_from = t, hours_gathered = t
         FROM (SELECT to_timestamp({BEGIN_S}) AS t) b"
    );
    sqlx::query(AssertSqlSafe(begin)).execute(pool).await.unwrap();
    let at =
        |hours| Timestamp::from_ns(BEGIN_S * 1_000_000_000) + Span::from_secs(3_600).times(hours);
    store.make_partitions(at(2)).await.unwrap();
    sqlx::raw_sql(FILL).execute(pool).await.unwrap();
    // Two hours rolled up, and the first of them repacked: every tier has something.
    let done = store.maintain_tiers(at(3), &KEEP, 24).await.unwrap();
    assert!(done.hours == 1 && done.minutes > 120, "{done:?}");
    // One hour of each is packed, one not.
    assert_eq!((done.packed, done.corrected), (1, 6), "{done:?}");
    let mut answers = Vec::new();
    let mut reader = pool.acquire().await.unwrap();
    sqlx::query("SET ROLE fleet_reader").execute(&mut *reader).await.unwrap();
    for question in QUESTIONS {
        let sql = format!(
            "SELECT coalesce(string_agg(q::text, E'\\n' ORDER BY q::text), '') FROM fleet.{question} q"
        );
        let answer: Result<String, _> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *reader).await;
        answers.push(format!("{question}: {}", answer.unwrap_or_else(|error| error.to_string())));
    }
    sqlx::query("RESET ROLE").execute(&mut *reader).await.unwrap();
    answers
}

/// Proves that every view and function of schema fleet answers on Citus as it does on plain Postgres, to the
/// nanosecond and to readers, of samples that are raw, repacked and rolled up; that readers see nothing else there;
/// and that there too packed hours are dropped and rollups gathered.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_plain_postgres() {
    let Some(server) = server("answers_are_those_of_plain_postgres") else { return };
    let mut plain = World::start().await;
    let expected = answers(plain.app().store(), &plain.sql().await).await;
    plain.stop().await;

    let database = Database::new(&server).await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let store = Store::from_pool(pool.clone());
    store.migrate().await.unwrap();
    let shards = "SELECT count(*) FROM citus_tables WHERE citus_table_type = 'distributed'";
    let distributed: i64 = sqlx::query_scalar(shards).fetch_one(&pool).await.unwrap();
    assert!(distributed > 10, "{distributed}");
    store.migrate().await.unwrap();
    let found = answers(&store, &pool).await;
    let other: Vec<_> =
        found.iter().zip(&expected).filter(|(found, plain)| found != plain).collect();
    assert!(other.is_empty(), "{other:#?}");
    let failed = expected.iter().filter(|a| a.ends_with(": ") || a.contains("permission denied"));
    assert_eq!(failed.count(), 0, "{expected:#?}");
    readers_see_no_more(&pool).await;

    let dropped = store
        .maintain_partitions(Timestamp::from_ns(BEGIN_S * 1_000_000_000), &KEEP)
        .await
        .unwrap();
    assert_eq!(dropped.dropped, 2, "the rows of the hour that was repacked, and of its minutes");

    let rollups =
        "SELECT string_agg(r::text, ' ' ORDER BY host_id, bucket) FROM store.rollup_hour r";
    let before: String = sqlx::query_scalar(rollups).fetch_one(&pool).await.unwrap();
    let day_over = format!(
        "UPDATE store.tier_mark SET minutes_sealed = t, minutes_until = t, hours_until = t
         FROM (SELECT to_timestamp({BEGIN_S} + 86400) AS t) b"
    );
    sqlx::query(AssertSqlSafe(day_over)).execute(&pool).await.unwrap();
    let day = Timestamp::from_ns((BEGIN_S + 86_400) * 1_000_000_000);
    let done = store.maintain_tiers(day, &KEEP, 24).await.unwrap();
    assert_eq!(done.days, 1, "{done:?}");
    let after: String = sqlx::query_scalar(rollups).fetch_one(&pool).await.unwrap();
    assert_eq!(before, after);
    pool.close().await;
    database.drop().await;
}

/// What readers may have of schema store, where they need a right on what the views read.
async fn readers_see_no_more(pool: &PgPool) {
    // What the page and `db status` ask, as the owner.
    Store::from_pool(pool.clone()).storage_report().await.unwrap();
    let mut reader = pool.acquire().await.unwrap();
    let mut tx = reader.begin().await.unwrap();
    sqlx::query("SET LOCAL ROLE fleet_reader").execute(&mut *tx).await.unwrap();
    // Not among the questions: it says for how long.
    let silent = sqlx::query_scalar::<_, String>("SELECT host FROM fleet.silent");
    assert_eq!(silent.fetch_all(&mut *tx).await.unwrap(), ["host-3"]);
    sqlx::query("SELECT FROM fleet.storage").execute(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    for forbidden in [
        "SELECT credential_hash FROM store.host",
        "SELECT * FROM store.host",
        "SELECT FROM store.user_account",
        "SELECT FROM store.log_line",
        "SELECT FROM store.host_state WHERE host_id = 1 FOR SHARE",
        "SELECT FROM store.job FOR SHARE",
        "LOCK TABLE store.writer_lock IN ACCESS SHARE MODE",
        "UPDATE store.assessment SET answer = 'safe'",
        "SELECT store.marks_for_writing()",
        "SELECT * FROM store.watermarks_for_writing(ARRAY[1], ARRAY[]::uuid[])",
    ] {
        let mut tx = reader.begin().await.unwrap();
        sqlx::query("SET LOCAL ROLE fleet_reader").execute(&mut *tx).await.unwrap();
        let refused = sqlx::query(forbidden).execute(&mut *tx).await.unwrap_err();
        let refused = refused.as_database_error().and_then(DatabaseError::code);
        assert_eq!(refused.as_deref(), Some("42501"), "{forbidden}");
        tx.rollback().await.unwrap();
    }
}

/// Proves that a database of an earlier release goes on on Citus: the last of its migrations is that before the
/// watermarks moved to the newest state.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_schema_is_brought_up_to_date() {
    let Some(server) = server("an_earlier_schema_is_brought_up_to_date") else { return };
    let database = Database::new(&server).await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let store = Store::from_pool(pool.clone());
    let earlier = store::MIGRATIONS.iter().filter(|m| m.version <= 11).cloned().collect();
    Migrator::with_migrations(earlier).run(&pool).await.unwrap();
    let partition = "CREATE TABLE store.sample_20260105 PARTITION OF store.sample
                     FOR VALUES FROM ('2026-01-05 00:00+00') TO ('2026-01-06 00:00+00')";
    sqlx::query(partition).execute(&pool).await.unwrap();
    sqlx::raw_sql(FILL).execute(&pool).await.unwrap();
    // As it was then: the newest state lags behind.
    sqlx::query("UPDATE store.host_state SET seq = 530").execute(&pool).await.unwrap();
    store.migrate().await.unwrap();
    for (query, expected) in [
        ("SELECT count(*) FROM store.host_state WHERE seq = 539", 4),
        ("SELECT count(*) FROM store.host_state WHERE error_digits = 8", 3),
        ("SELECT count(*) FROM fleet.log_line", 200),
        ("SELECT count(*) FROM fleet.worst(10)", 4),
    ] {
        let found: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
        assert_eq!(found, expected, "{query}");
    }
    pool.close().await;
    database.drop().await;
}

/// Proves that on Citus too, agents that move between two collectors have every report stored once, and that the
/// collectors never wait for each other in vain.
#[tokio::test(flavor = "multi_thread")]
async fn agents_move_between_collectors_on_citus() {
    let Some(server) = server("agents_move_between_collectors_on_citus") else { return };
    let database = Database::new(&server).await;
    move_between_collectors(World::start_on(&database.url, INGEST).await).await;
    database.drop().await;
}

/// Proves that Citus has a plan for every statement of the store whose text is fixed. Which rows it finds, the other
/// tests ask.
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_has_a_plan() {
    let Some(server) = server("every_statement_has_a_plan") else { return };
    let database = Database::new(&server).await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    Store::from_pool(pool.clone()).migrate().await.unwrap();
    let mut one = PgConnection::connect(&database.url).await.unwrap();
    let mut refused = Vec::new();
    for file in std::fs::read_dir("store/.sqlx").unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let known: serde_json::Value = serde_json::from_str(&text).unwrap();
        let query = known["query"].as_str().unwrap();
        let parameters = known["describe"]["parameters"]["Left"].as_array().cloned();
        let some: Vec<_> = parameters.into_iter().flatten().map(|kind| some_value(&kind)).collect();
        let list = if some.is_empty() { String::new() } else { format!("({})", some.join(", ")) };
        // Postgres itself plans neither.
        if query.starts_with("SET ") || query.starts_with("LOCK ") {
            continue;
        }
        // Citus runs an INSERT of a difference, or of what was deleted, but does not explain it; here it inserts
        // nothing.
        let runs_only = query.contains("EXCEPT SELECT") || query.starts_with("WITH taken AS (");
        let explain = if runs_only { "" } else { "EXPLAIN" };
        let plan = format!("PREPARE q AS {query}; {explain} EXECUTE q{list}");
        let mut tx = one.begin().await.unwrap();
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(plan)).execute(&mut *tx).await {
            refused.push(format!("{error}: {query}"));
        }
        tx.rollback().await.unwrap();
        sqlx::raw_sql("DEALLOCATE q").execute(&mut one).await.unwrap();
    }
    assert!(refused.is_empty(), "{refused:#?}");
    one.close().await.unwrap();
    pool.close().await;
    database.drop().await;
}

/// Something of a type, as sqlx names it.
fn some_value(kind: &serde_json::Value) -> &'static str {
    match kind.as_str().unwrap_or_default() {
        _ if kind["Custom"]["kind"]["Array"].is_object() => "'{}'",
        array if array.ends_with("Array") => "'{}'",
        "Uuid" => "'00000000-0000-0000-0000-000000000000'",
        "Timestamptz" => "'2026-01-05'",
        "Jsonb" => "'{}'",
        "Bool" => "'false'",
        "Text" => "'sample'",
        _ => "'1'",
    }
}
