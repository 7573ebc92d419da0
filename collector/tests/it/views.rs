use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::World;

const MS: i64 = 1_000_000;

/// Hosts with a window in ms, their answer against a budget of 100 ms, and whether they are silent.
const HOSTS: &[(&str, &str, i64, i64, &str, bool)] = &[
    ("ahead", "api", 120, 180, "certain", false),
    ("perhaps", "api", -130, 110, "possible", false),
    ("fine", "api", -5, 5, "safe", false),
    ("alone", "db", -2, 2, "safe", false),
    ("gone", "db", -9_000, 9_000, "unknown", true),
];

/// Proves by known windows what the views say: by how much and on which side a clock is out, who is
/// silent, how far apart the clocks of a service can be (silent ones aside), and which server feeds whom.
#[tokio::test(flavor = "multi_thread")]
async fn views_tell_what_is() {
    let mut world = World::start().await;
    let pool = world.sql().await;
    for (name, service, lo, hi, answer, silent) in HOSTS.iter().copied() {
        let (lo, hi) = (lo * MS, hi * MS);
        let statement = format!(
            "WITH h AS (INSERT INTO store.host (host_uuid, name, service, credential_hash)
                        VALUES (gen_random_uuid(), '{name}', '{service}', '{name}') RETURNING host_id),
             s AS (INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns,
                       hi_ns, drift_limit_ppb, kernel_max_error_ns, kernel_estimated_error_ns,
                       kernel_frequency_ppb, kernel_status, kernel_synchronised, tai_offset_s, boot_no,
                       steps, state, leap, discipliner)
                   SELECT host_id, now(), now(), 1, 0, 0, {lo}, {hi}, 0, 0, 0, 0, 0, true, 37, 1, 0, 2, 1, 1
                   FROM h)
             INSERT INTO store.assessment (host_id, answer, budget_ns, silent, since)
             SELECT host_id, '{answer}', {budget}, {silent}, now() FROM h",
            budget = 100 * MS,
        );
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    let fed = "INSERT INTO store.source_state (host_id, position, name, address, verdict, reach, poll_log2,
                   offset_ns, stratum, reference_id, root_delay_ns, root_dispersion_ns, accepted, refused,
                   leap, authentication, stamps)
               SELECT host_id, 0, 'ntp', '192.0.2.1:123',
                      CASE name WHEN 'gone' THEN 'unreachable' WHEN 'perhaps' THEN 'falseticker'
                                ELSE 'selected' END,
                      255, 6, CASE name WHEN 'ahead' THEN -7 ELSE 3 END, 2, x'C0000202'::int8, 0, 9, 1, 0,
                      1, 1, 1
               FROM store.host";
    sqlx::query(fed).execute(&pool).await.unwrap();

    let drifting: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT host, direction, certain_excess_ns, possible_excess_ns FROM fleet.drifting ORDER BY host",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let out = |host: &str, way: &str, certain, possible| {
        (host.to_owned(), way.to_owned(), certain * MS, possible * MS)
    };
    assert_eq!(drifting, [out("ahead", "ahead", 20, 80), out("perhaps", "behind", 0, 30)]);

    let silent: Vec<String> =
        sqlx::query_scalar("SELECT host FROM fleet.silent").fetch_all(&pool).await.unwrap();
    assert_eq!(silent, ["gone"]);

    let services: Vec<(String, i64, i64, i64, Option<i64>)> = sqlx::query_as(
        "SELECT service, hosts, hosts_with_window, widest_ns, greatest_skew_ns
         FROM fleet.windows_by_service ORDER BY service",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let api = ("api".to_owned(), 3, 3, 240 * MS, Some(310 * MS));
    assert_eq!(services, [api, ("db".to_owned(), 2, 1, 4 * MS, None)]);

    let servers: Vec<(String, String, i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT address, reference_id, hosts, hosts_using, hosts_disagreeing, hosts_unreachable,
                worst_offset_ns FROM fleet.grandmasters_now",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(servers, [("192.0.2.1:123".into(), "192.0.2.2".into(), 5, 3, 1, 1, 7)]);
    pool.close().await;
    world.stop().await;
}

/// A fleet in which everything is met: most hosts alike, some far off, the same error several times, bounds as far
/// as numbers go, hosts without a window and hosts that never reported.
const MANY: &str = "
    SELECT setseed(0.5);
    INSERT INTO store.host (host_uuid, name, credential_hash)
    SELECT gen_random_uuid(), 'host-' || n, n::text::bytea FROM generate_series(1, 3000) n ORDER BY n;
    INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns, drift_limit_ppb,
        kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status, kernel_synchronised,
        tai_offset_s, boot_no, steps, state, leap, discipliner)
    SELECT host_id, now(), now(), 1, 0, 0, CASE WHEN host_id % 11 > 0 THEN middle - half END,
           CASE WHEN host_id % 11 > 0 THEN middle + half END, 0, 0, 0, 0, 0, true, 37, 1, 0, 2, 1, 1
    FROM (SELECT host_id, 40000 + (random() * 50000)::int8 AS half,
                 CASE WHEN host_id % 20 = 0 THEN (10 ^ (random() * 12))::int8 * (host_id % 3 - 1)
                      WHEN host_id % 50 = 1 THEN 123456789 ELSE (random() * 9000)::int8 END AS middle
          FROM store.host WHERE host_id % 13 > 0) h;
    UPDATE store.host_state SET lo_ns = -9223372036854775807 - 1, hi_ns = -5 WHERE host_id = 6;
    UPDATE store.host_state SET lo_ns = 5, hi_ns = 9223372036854775806 WHERE host_id = 7;
    UPDATE store.host_state SET lo_ns = -10000000, hi_ns = 10000000 WHERE host_id IN (8, 9, 12, 16);
    UPDATE store.host_state SET lo_ns = 0, hi_ns = 0 WHERE host_id = 17;";

/// Proves that the quick ways to the worst hosts give what sorting all of them gives, however many are asked for,
/// and go on to do so when windows change.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_are_those_of_a_plain_sort() {
    let mut world = World::start().await;
    let pool = world.sql().await;
    sqlx::raw_sql(MANY).execute(&pool).await.unwrap();
    let change =
        "UPDATE store.host_state SET lo_ns = lo_ns * 13, hi_ns = hi_ns * 13 WHERE host_id % 7 = 3";
    for change in ["SELECT 1", change, "VACUUM ANALYZE store.host_state"] {
        sqlx::raw_sql(AssertSqlSafe(change.to_owned())).execute(&pool).await.unwrap();
        for most in [1, 5, 100, 700, 2_700, 10_000] {
            for (function, order) in [
                ("worst", "greatest(-lo_ns::numeric, hi_ns)"),
                ("widest", "store.width(lo_ns, hi_ns)"),
            ] {
                let sql = format!(
                    "SELECT ARRAY(SELECT host FROM fleet.{function}({most})),
                            ARRAY(SELECT name FROM store.host LEFT JOIN store.host_state USING (host_id)
                                  ORDER BY {order} DESC NULLS LAST, host_id LIMIT {most})"
                );
                let (quick, plain): (Vec<String>, Vec<String>) =
                    sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
                assert_eq!(quick.len(), most.min(3_000));
                assert!(quick == plain, "{function}({most}) is no plain sort");
            }
        }
    }
    let by_digits = "SELECT count(*) FROM fleet.host_now
                     WHERE (error_digits >= 7) IS DISTINCT FROM (greatest(-lo_ns::numeric, hi_ns) >= 1000000)";
    let differ: i64 = sqlx::query_scalar(by_digits).fetch_one(&pool).await.unwrap();
    assert_eq!(differ, 0);
    let error = sqlx::query("SELECT fleet.worst(0)").execute(&pool).await.unwrap_err();
    assert!(error.to_string().contains("most must be from 1 to 10000, not 0"), "{error}");
    pool.close().await;
    world.stop().await;
}

/// Proves that reports whose error keeps its number of digits rewrite a host's row within its page (HOT), although
/// that number has an index; one that does not is indexed anew.
#[tokio::test(flavor = "multi_thread")]
async fn reports_do_not_touch_the_index_of_the_worst() {
    let mut world = World::start().await;
    let pool = world.sql().await;
    sqlx::raw_sql(MANY).execute(&pool).await.unwrap();
    let mut one = pool.acquire().await.unwrap();
    let mut counted = Vec::new();
    // Hosts 14 and 15 by turns: the error of each changes at every report, in the second round its digits too.
    for window in ["200000 + n * 37", "CASE n / 2 % 2 WHEN 0 THEN 99999 ELSE 100000 END"] {
        // A report at a time, as they come.
        let reports = format!(
            "DO $$ BEGIN
                 FOR n IN 1..1000 LOOP
                     UPDATE store.host_state SET seq = n, ref_time = now(), lo_ns = -({window}), hi_ns = {window}
                     WHERE host_id = 14 + n % 2;
                     COMMIT;
                 END LOOP;
             END $$"
        );
        let before = written(&mut one).await;
        sqlx::raw_sql(AssertSqlSafe(reports)).execute(&mut *one).await.unwrap();
        let after = written(&mut one).await;
        counted.push((after.0 - before.0, after.1 - before.1));
    }
    assert_eq!(counted[0].0, 1_000);
    assert!(counted[0].1 >= 950 && counted[1].1 <= 10, "{counted:?}");
    drop(one);
    pool.close().await;
    world.stop().await;
}

/// Rows of the newest state that were rewritten so far, and those of them within their page.
async fn written(connection: &mut PgConnection) -> (i64, i64) {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    let statistics =
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'host_state'";
    sqlx::query_as(statistics).fetch_one(connection).await.unwrap()
}
