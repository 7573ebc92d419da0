use std::process::Output;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::support::{Agent, World, eventually, report};

async fn output(world: &World, words: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = world.command(words).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// A SQL user with their password.
async fn added(world: &World, name: &str) -> PgConnectOptions {
    let (done, password, err) = output(world, &["sql-user", "add", name]).await;
    assert!(done, "{err}");
    let embedded = world.app().database().embedded.as_ref().unwrap();
    embedded.connect_options().username(name).password(password.trim())
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Proves that a SQL user comes in with the password alone, reads schema fleet and nothing else, makes
/// and writes nothing, and is gone, session and all, once removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_sql_user_reads_fleet_and_nothing_else() {
    let mut world = World::start().await;
    let ada = added(&world, "ada").await;
    let wrong = ada.clone().password("not the one").connect().await.unwrap_err();
    assert_eq!(code(&wrong).as_deref(), Some("28P01"), "{wrong}");
    let mut session = ada.connect().await.unwrap();
    for lift in ["SET default_transaction_read_only = off", "SET transaction_read_only = off"] {
        sqlx::query(lift).execute(&mut session).await.unwrap();
    }
    sqlx::query("SELECT host FROM host_now").fetch_all(&mut session).await.unwrap();
    for forbidden in [
        "SELECT * FROM store.host",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE TABLE fleet.mine (x int)",
        "CREATE FUNCTION fleet.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE fleet.host_now SET host = 'x'",
        "SET ROLE truechimer",
        "ALTER ROLE ada CONNECTION LIMIT -1",
        "SELECT pg_read_file('/etc/passwd')",
        "SET temp_file_limit = -1",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, repeat('x', 1000)::bytea)",
        "SELECT pg_logical_emit_message(false, 'a', 'b')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock(1, 1)",
        "SELECT pg_advisory_xact_lock_shared(1)",
        "SELECT pg_notify('truechimer', 'samples')",
        "DO $$ BEGIN LOCK TABLE store.writer_lock IN ACCESS SHARE MODE; END $$",
        "DO $$ BEGIN LOCK TABLE fleet.host_now IN ROW SHARE MODE; END $$",
    ] {
        let outcome = sqlx::query(forbidden).execute(&mut session).await;
        let code = outcome.as_ref().err().and_then(code);
        assert!(matches!(code.as_deref(), Some("42501" | "55000")), "{forbidden}: {outcome:?}");
    }
    // Where those functions are open, as on another's server, they may have come to own something.
    let owned =
        "DO $$ BEGIN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO ada', lo_create(0)); END $$";
    sqlx::raw_sql(owned).execute(&world.sql().await).await.unwrap();
    let (_, listed, _) = output(&world, &["sql-user", "list"]).await;
    assert!(listed.contains("ada") && listed.contains("1 of 4"), "{listed}");
    let (done, _, err) = output(&world, &["sql-user", "remove", "ada"]).await;
    assert!(done, "{err}");
    assert!(session.ping().await.is_err(), "the session goes on");
    // No such role: no line of pg_hba.conf lets it in.
    assert_eq!(code(&ada.connect().await.unwrap_err()).as_deref(), Some("28000"));
    world.stop().await;
}

/// Proves that an analyst loads lines of logs, by the row and by COPY, has them ordered and drops them, all within
/// their own; that others' lines do not exist for them; and that one who only reads may do none of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_loads_and_orders_lines() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let mut reports = agent.session().await;
    reports.send(vec![report(1), report(2)]).await;
    reports.ack().await;
    let embedded = world.app().database().embedded.as_ref().unwrap().connect_options();
    let mut sessions = Vec::new();
    for name in ["ann", "ben"] {
        let (done, password, err) = output(&world, &["sql-user", "add", "--analyst", name]).await;
        assert!(done, "{err}");
        let options = embedded.clone().username(name).password(password.trim());
        sessions.push(options.connect().await.unwrap());
    }
    let [ann, ben] = &mut sessions[..] else { panic!("two sessions") };
    let mut reader = added(&world, "ada").await.connect().await.unwrap();

    // What the clock showed at the first report of `report`, and a millisecond on each side.
    let at = 1_800_000_000_000_000_000_i64;
    let insert = "INSERT INTO log_line (batch, host, local_ns, message) VALUES ('deploy', 'a', $1, 'second')";
    sqlx::query(insert).bind(at + 10_000_000).execute(&mut *ann).await.unwrap();
    let mut copy =
        ann.copy_in_raw("COPY log_line (batch, host, local_ns, message) FROM STDIN").await.unwrap();
    let lines = format!("deploy\ta\t{at}\tfirst\ndeploy\tnobody\t{at}\tlast\n");
    copy.send(lines.as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
    let order = "SELECT string_agg(message, ' ') FROM order_lines('deploy')";
    let ordered: Option<String> = sqlx::query_scalar(order).fetch_one(&mut *ann).await.unwrap();
    assert_eq!(ordered.as_deref(), Some("first second last"));
    sqlx::query("SELECT host FROM host_now").fetch_one(&mut *ann).await.unwrap();

    let others: Option<String> = sqlx::query_scalar(order).fetch_one(&mut *ben).await.unwrap();
    assert_eq!(others, None);
    let drop = "SELECT drop_lines('deploy')";
    assert_eq!(sqlx::query_scalar::<_, i64>(drop).fetch_one(&mut *ben).await.unwrap(), 0);
    for forbidden in [
        "SELECT * FROM log_line",
        "DELETE FROM log_line",
        "INSERT INTO log_line (batch, host, local_ns, loaded_by) VALUES ('deploy', 'a', 1, 'ann')",
        "SELECT * FROM store.host",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE TABLE fleet.mine (x int)",
        "SET ROLE ann",
    ] {
        let refused = sqlx::query(forbidden).execute(&mut *ben).await.unwrap_err();
        assert_eq!(code(&refused).as_deref(), Some("42501"), "{forbidden}: {refused}");
    }
    for lift in ["SET default_transaction_read_only = off", "SET transaction_read_only = off"] {
        sqlx::query(lift).execute(&mut reader).await.unwrap();
    }
    let refused = sqlx::query(insert).bind(at).execute(&mut reader).await.unwrap_err();
    assert_eq!(code(&refused).as_deref(), Some("42501"), "{refused}");

    assert_eq!(sqlx::query_scalar::<_, i64>(drop).fetch_one(&mut *ann).await.unwrap(), 3);
    let (_, listed, _) = output(&world, &["sql-user", "list"]).await;
    let may = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(may("ann").contains("load log lines") && !may("ada").contains("load"), "{listed}");
    let (done, _, err) = output(&world, &["sql-user", "remove", "ann"]).await;
    assert!(done && ann.ping().await.is_err(), "{err}");
    world.stop().await;
}

/// Proves that only roles made by this command are removed, and that names which need quotes or are
/// taken are refused.
#[tokio::test(flavor = "multi_thread")]
async fn other_roles_are_left_alone() {
    let mut world = World::start().await;
    for (words, expected) in [
        (["sql-user", "remove", "truechimer"], "no SQL user"),
        (["sql-user", "remove", "fleet_reader"], "no SQL user"),
        (["sql-user", "add", "fleet_reader"], "already"),
        (["sql-user", "add", "x; DROP TABLE"], "a-z"),
    ] {
        let (done, out, err) = output(&world, &words).await;
        assert!(!done && out.is_empty() && err.contains(expected), "{words:?}: {err}");
    }
    world.stop().await;
}

/// Proves that more sessions than allowed are refused while the collector goes on.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited() {
    let mut world = World::start_with("[sql]\nconnections = 2\n").await;
    let file = world.dir.path().join("collector.toml");
    std::fs::write(&file, "[sql]\nconnections = 2\n").unwrap();
    let words = ["sql-user", "add", "bob", "--config", file.to_str().unwrap()];
    let (done, password, err) = output(&world, &words).await;
    assert!(done, "{err}");
    let embedded = world.app().database().embedded.as_ref().unwrap();
    let bob = embedded.connect_options().username("bob").password(password.trim());
    let _first = bob.connect().await.unwrap();
    let _second = bob.connect().await.unwrap();
    assert_eq!(code(&bob.connect().await.unwrap_err()).as_deref(), Some("53300"));
    assert_eq!(world.number("SELECT count(*) FROM store.host").await, 0);
    world.stop().await;
}

/// Proves that the server cancels a query which outlasts the limit although its session has lifted its
/// own or commits as it goes, that one which swallows the cancel is cut off, that a transaction is ended in which it
/// idles or which it left prepared,
/// and that long queries of the owner, and of administrators who are members of the reader, go on.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_limit_cannot_be_lifted() {
    let mut world = World::start().await;
    world.stop().await;
    let settings = world.dir.path().join("postgres/data/postgresql.conf");
    let mut text = std::fs::read_to_string(&settings).unwrap();
    text += "max_prepared_transactions = 2\n";
    std::fs::write(&settings, text).unwrap();
    world.restart_with("[sql]\ntime-limit = \"1 s\"\n").await;
    let eve = added(&world, "eve").await;
    let reader = eve.clone().username("fleet_reader");
    let mut owner = world.sql().await.acquire().await.unwrap().detach();
    let owners = tokio::spawn(async move {
        sqlx::query("SELECT pg_sleep(4)").execute(&mut owner).await.map(drop)
    });
    let dba = "CREATE ROLE dba LOGIN PASSWORD 'a password' IN ROLE fleet_reader";
    sqlx::query(dba).execute(&world.sql().await).await.unwrap();
    let mut dba = eve.clone().username("dba").password("a password").connect().await.unwrap();
    let dbas =
        tokio::spawn(
            async move { sqlx::query("SELECT pg_sleep(4)").execute(&mut dba).await.map(drop) },
        );
    let lifted = async |options: &PgConnectOptions| -> PgConnection {
        let mut session = options.connect().await.unwrap();
        for lift in ["SET statement_timeout = 0", "SET idle_in_transaction_session_timeout = 0"] {
            sqlx::query(lift).execute(&mut session).await.unwrap();
        }
        session
    };
    for options in [&eve, &reader] {
        let mut session = lifted(options).await;
        let slept = sqlx::query("SELECT pg_sleep(3600)").execute(&mut session).await.unwrap_err();
        assert_eq!(code(&slept).as_deref(), Some("57014"), "{slept}");
        sqlx::query("SELECT 1").execute(&mut session).await.unwrap();
    }
    let mut renewing = lifted(&eve).await;
    let renew = "DO $$ BEGIN LOOP PERFORM pg_sleep(0.1); COMMIT; END LOOP; END $$";
    let ended = sqlx::raw_sql(renew).execute(&mut renewing).await.unwrap_err();
    assert!(matches!(code(&ended).as_deref(), Some("57014" | "57P01")), "{ended}");

    let mut stubborn = lifted(&eve).await;
    let swallow = "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(3600);
                   EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$";
    let ended = sqlx::raw_sql(swallow).execute(&mut stubborn).await.unwrap_err();
    assert!(matches!(code(&ended).as_deref(), None | Some("57P01")), "{ended}");

    let mut leaving = lifted(&eve).await;
    let leave = "BEGIN; SELECT count(*) FROM samples; PREPARE TRANSACTION 'it''s mine'";
    sqlx::raw_sql(leave).execute(&mut leaving).await.unwrap();
    leaving.close().await.unwrap();
    let prepared = "SELECT count(*) FROM pg_prepared_xacts";
    eventually("it is rolled back", async || (world.number(prepared).await == 0).then_some(()))
        .await;

    let mut idle = lifted(&eve).await;
    sqlx::query("BEGIN").execute(&mut idle).await.unwrap();
    sqlx::query("SELECT count(*) FROM host_now").execute(&mut idle).await.unwrap();
    let left =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'eve' AND state LIKE 'idle in%'";
    eventually("the idle transaction is ended", async || {
        (world.number(left).await == 0).then_some(())
    })
    .await;
    owners.await.unwrap().unwrap();
    dbas.await.unwrap().unwrap();
    world.stop().await;
}

/// Proves that with a listener SQL users come in by TCP with their password, while owner and reader,
/// who have none, do not; and that a changed address takes effect on a server that was left running.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_for_sql_users() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let toml = format!("[database]\nlisten = \"127.0.0.1:{port}\"\n");
    let mut world = World::start().await;
    world.stop().await;
    world.restart_with(&toml).await;
    let kim = added(&world, "kim").await;
    let tcp = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
    let tcp = tcp.database("truechimer");
    let (_, password, err) = output(&world, &["sql-user", "add", "lou"]).await;
    let lou = tcp.clone().username("lou").password(password.trim());
    let mut session = lou.connect().await.unwrap_or_else(|e| panic!("{e} {err}"));
    sqlx::query("SELECT host FROM host_now").fetch_all(&mut session).await.unwrap();
    kim.connect().await.unwrap();
    for role in ["truechimer", "fleet_reader"] {
        let refused = tcp.clone().username(role).password("guess").connect().await.unwrap_err();
        assert!(matches!(code(&refused).as_deref(), Some("28000" | "28P01")), "{role}: {refused}");
    }
    world.stop().await;
}
