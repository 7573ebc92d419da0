use std::path::Path;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::history::{History, NOON_NS};
use crate::world::World;

/// ctl-3 is 40 ms ahead, kv-1 is right, and so on; windows are a millisecond wide, and nothing is known of kv-4.
async fn some_hosts() -> World {
    let world = World::new().await;
    let mut hosts: Vec<_> =
        [("ctl-3", 40_000), ("kv-1", 0), ("kv-2", 35_300), ("kv-3", 40_000), ("web-1", 9_800)]
            .map(|(name, error_us)| History::steady(name, error_us * 1_000))
            .into();
    hosts.push(History::silent("kv-4"));
    world.fill(&hosts).await;
    world
        .run("UPDATE store.host SET service = 'keystone' WHERE name LIKE 'kv-%' OR name = 'ctl-3'")
        .await;
    world.run("DROP ROLE IF EXISTS ana, bob; CREATE ROLE ana LOGIN IN ROLE fleet_analyst; CREATE ROLE bob LOGIN IN ROLE fleet_analyst").await;
    world
}

/// What is to be run in docs/SQL.md.
fn examples() -> Vec<String> {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SQL.md");
    let text = std::fs::read_to_string(text).unwrap();
    let blocks = text.split("```sql\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks
        .flat_map(|block| block.split(';'))
        .map(|e| e.trim().to_owned())
        .filter(|e| !e.is_empty())
        .collect()
}

async fn end(world: World, pools: &[&PgPool]) {
    for pool in pools {
        pool.close().await;
    }
    world.run("REVOKE fleet_analyst FROM ana, bob; DROP ROLE ana, bob").await;
    world.end().await;
}

/// Proves that the examples in docs/SQL.md work as printed, for the role that they are for, and that they say what
/// happened: who was off during the deploy, that the token was issued before it was refused though its time is later,
/// and who refused it. And that lines are the property of who loaded them.
#[tokio::test(flavor = "multi_thread")]
async fn examples_work_as_printed() {
    let world = some_hosts().await;
    let ana = world.login("ana").await;
    let mut connection = ana.acquire().await.unwrap();
    sqlx::query("SET search_path = fleet").execute(&mut *connection).await.unwrap();
    let examples = examples();
    assert!(examples.len() >= 14, "only {examples:#?}");
    for example in &examples {
        let rows = sqlx::raw_sql(AssertSqlSafe(example.clone())).fetch_all(&mut *connection).await;
        assert!(rows.is_ok(), "{example}: {rows:?}");
    }
    let example = |word: &str| examples.iter().find(|e| e.contains(word)).unwrap().clone();
    let lines = async |connection: &mut PgConnection, word: &str| -> Vec<String> {
        let query = format!("SELECT x::text FROM ({}) x", example(word));
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await.unwrap()
    };
    assert_eq!(
        lines(&mut connection, "12:25Z").await,
        [
            "(ctl-3,t,39500000,40500000)",
            "(kv-2,t,34800000,35800000)",
            "(kv-3,t,39500000,40500000)",
            "(web-1,f,9300000,10300000)"
        ]
    );
    let refused = lines(&mut connection, "refuses").await;
    let verdicts: Vec<_> =
        refused.iter().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(verdicts, ["(kv-1 certainly", "(kv-2 possibly", "(kv-4 unknown"]);
    let beyond: Vec<f64> =
        refused[0].trim_end_matches(')').split(',').skip(2).map(|n| n.parse().unwrap()).collect();
    assert!((33.9..34.0).contains(&beyond[0]) && (36.0..36.1).contains(&beyond[1]), "{refused:?}");

    sqlx::query(AssertSqlSafe(example("INSERT"))).execute(&mut *connection).await.unwrap();
    let merged =
        "SELECT string_agg(host || coalesce(' ' || after_previous, ''), ', ' ORDER BY position)
                  FROM fleet.order_lines('deploy')";
    let order: String = sqlx::query_scalar(merged).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(order, "ctl-3, ctl-3 true, kv-1 true");

    let bob = world.login("bob").await;
    let of_others: Option<String> = sqlx::query_scalar(merged).fetch_one(&bob).await.unwrap();
    assert_eq!(of_others, None);
    let dropped: i64 =
        sqlx::query_scalar("SELECT fleet.drop_lines('deploy')").fetch_one(&bob).await.unwrap();
    assert_eq!(dropped, 0);
    for forbidden in [
        "SELECT * FROM fleet.log_line",
        "DELETE FROM fleet.log_line",
        "UPDATE fleet.log_line SET message = ''",
        "INSERT INTO fleet.log_line (batch, host, local_ns, loaded_by) VALUES ('deploy', 'kv-1', 1, 'ana')",
        "SELECT store.find_host('ctl-3')",
        "CREATE TABLE fleet.mine ()",
    ] {
        let refused = sqlx::query(forbidden).execute(&bob).await.unwrap_err();
        let code =
            refused.as_database_error().and_then(|e| e.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}");
    }
    // Whatever an administrator grants, each sees their own lines.
    world.run("GRANT SELECT ON ALL TABLES IN SCHEMA fleet TO fleet_reader").await;
    for (who, seen) in [(&ana, 3), (&bob, 0)] {
        let lines = "SELECT count(*) FROM fleet.log_line";
        let found: i64 = sqlx::query_scalar(lines).fetch_one(who).await.unwrap();
        assert_eq!(found, seen);
        // Nor by what an error tells.
        let told = "SELECT count(*) FROM fleet.log_line WHERE batch = 'deploy' AND loaded_by <> session_user
                        AND host::int4 > 0";
        let found: i64 = sqlx::query_scalar(told).fetch_one(who).await.unwrap();
        assert_eq!(found, 0);
    }
    // One role's lines are no more than the disk has room for.
    let long = "INSERT INTO fleet.log_line (batch, host, local_ns, message) VALUES ('b', 'h', 1, repeat('x', 8193))";
    let one = "INSERT INTO fleet.log_line (batch, host, local_ns) VALUES ('b', 'h', 1)";
    sqlx::query(one).execute(&ana).await.unwrap();
    world
        .run(
            "INSERT INTO store.log_line (batch, host, local_ns, loaded_by)
         SELECT 'many', 'h', n, 'ana' FROM generate_series(1, 1000000 - 4) n",
        )
        .await;
    for too_much in [long, one] {
        let refused = sqlx::query(too_much).execute(&ana).await.unwrap_err();
        let code =
            refused.as_database_error().and_then(|e| e.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("54000"), "{too_much}");
    }
    let left =
        world.store.prune_log_lines(timebase::Timestamp::from_ns(i64::MAX), timebase::Span::SECOND);
    assert_eq!(left.await.unwrap(), 1_000_000);
    drop(connection);
    end(world, &[&ana, &bob]).await;
}

/// Proves that hindsight narrows: between two reports a window is as wide as at the narrower of them, but for what the
/// rate leaves open, while from one report alone it grows as a clock may be slewed; and that a host that does not
/// exist, or times that mean nothing, are refused with a hint.
#[tokio::test(flavor = "multi_thread")]
async fn hindsight_narrows() {
    let world = World::new().await;
    world.fill(&[History::steady("ctl-3", 40_000_000)]).await;
    let width = "SELECT hi_ns - lo_ns FROM fleet.utc_window('ctl-3', $1::int8)";
    let mut before_the_end = Vec::new();
    for seconds in [-24, -21, -19, -16] {
        let at = NOON_NS + seconds * 1_000_000_000;
        before_the_end.push(
            sqlx::query_scalar::<_, i64>(width).bind(at).fetch_one(&world.pool).await.unwrap(),
        );
    }
    // A window is 1 ms; 10 s at a rate known to 1 ppm, and a stray of 500 ns on both sides, leave 11 µs open.
    assert!(
        before_the_end.iter().all(|w| (1_000_000..1_011_100).contains(w)),
        "{before_the_end:?}"
    );
    let last = "SELECT max(host_ns) + 5000000000 FROM store.sample";
    let later: i64 = sqlx::query_scalar(last).fetch_one(&world.pool).await.unwrap();
    let alone: i64 = sqlx::query_scalar(width).bind(later).fetch_one(&world.pool).await.unwrap();
    assert!(alone > 11_000_000, "{alone}");

    for (wrong, word) in [
        ("SELECT fleet.utc_window('nobody', 1::int8)", "no host \"nobody\""),
        ("SELECT fleet.utc_window('ctl-3', -1::int8)", "1970"),
        ("SELECT fleet.order_of('ctl-3', 1::int8, 'who', 2)", "no host \"who\""),
        ("SELECT fleet.order_lines(ARRAY['a', 'b'], ARRAY[1]::int8[])", "2 hosts, but 1"),
    ] {
        let refused = sqlx::query(wrong).execute(&world.pool).await.unwrap_err();
        assert!(refused.to_string().contains(word), "{refused}");
    }
    world.end().await;
}
