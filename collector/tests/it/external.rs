//! A server of one's own, whose administrator gives the collector no more than docs/OPERATIONS.md asks for.

use std::io::Write;
use std::path::Path;

use collector::postgres::Embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

use crate::support::{Agent, World, eventually, report, skip, truechimer};

const OWNER: &str = "clockmaker";
const PASSWORD: &str = "tick-tock";

/// Somebody else's server: no role of ours is on it, and we are no superuser.
struct Server {
    cluster: Option<Embedded>,
    options: PgConnectOptions,
    folder: TempDir,
    admin: PgConnection,
}

impl Server {
    async fn start(binaries: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(folder.path(), binaries).await.unwrap();
        let options = cluster.connect_options();
        let admin = PgConnection::connect_with(&options).await.unwrap();
        let mut server = Self { cluster: Some(cluster), options, folder, admin };
        // As servers have it: whoever has a password.
        let rules = server.folder.path().join("postgres/data/pg_hba.conf");
        let mut rules = std::fs::OpenOptions::new().append(true).open(rules).unwrap();
        writeln!(rules, "local fleet,again all scram-sha-256").unwrap();
        server.administer("SELECT pg_reload_conf()").await;
        server
    }

    async fn administer(&mut self, statements: &str) {
        let outcome =
            sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut self.admin).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {statements}"));
    }

    /// The owner's database, once the server lets them in.
    async fn make_database(&mut self) {
        self.administer(&format!("CREATE DATABASE fleet OWNER {OWNER}")).await;
        let options = self.options(OWNER, PASSWORD);
        eventually("the owner comes in", async || options.connect().await.ok()).await;
    }

    fn options(&self, role: &str, password: &str) -> PgConnectOptions {
        self.options.clone().username(role).password(password).database("fleet")
    }

    fn url(&self) -> String {
        let socket = self.options.get_socket().unwrap().display().to_string();
        format!("postgres://{OWNER}:{PASSWORD}@localhost/fleet?host={socket}")
    }

    async fn stop(mut self) {
        self.cluster.take().unwrap().stop().await;
    }
}

impl Drop for Server {
    /// A test that failed must not leave a server behind.
    fn drop(&mut self) {
        if let Some(pid) = self.cluster.as_ref().and_then(Embedded::pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
    }
}

async fn run(world: &World, url: &str, words: &[&str]) -> (bool, String, String) {
    let words = [words, &["--database-url", url]].concat();
    let output = truechimer(world.dir.path(), &words).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

async fn text(session: &mut PgConnection, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(session).await.unwrap()
}

/// Proves that an owner with CREATEROLE and no more serves, lets SQL users and analysts in and holds them to
/// their time limit, keeps the tiers, backs up, and restores into another database of the same server.
async fn with_createrole(binaries: Option<&Path>) {
    let mut server = Server::start(binaries).await;
    server.administer(&format!("CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")).await;
    server.make_database().await;
    server.administer(&format!("GRANT pg_signal_backend, pg_read_all_stats TO {OWNER}")).await;
    let url = server.url();
    let toml = "[sql]\ntime-limit = \"1 s\"\n";
    let mut world = World::start_on(&url, toml).await;
    let file = world.dir.path().join("collector.toml");
    std::fs::write(&file, toml).unwrap();
    let config = file.to_str().unwrap();
    let agent = Agent::enrol(&world, "a").await;
    let mut reports = agent.session().await;
    reports.send(vec![report(1), report(2)]).await;
    reports.ack().await;
    assert_eq!(
        world.text("SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user").await,
        "false"
    );

    let mut sessions = Vec::new();
    for words in [&["sql-user", "add", "ada"][..], &["sql-user", "add", "ann", "--analyst"]] {
        let (done, password, err) =
            run(&world, &url, &[words, &["--config", config]].concat()).await;
        assert!(done, "{err}");
        sessions.push(server.options(words[2], password.trim()).connect().await.unwrap());
    }
    let [ada, ann] = &mut sessions[..] else { panic!("two sessions") };
    assert_eq!(text(ada, "SELECT host FROM host_now").await, "a");
    let load = "INSERT INTO log_line (batch, host, local_ns, message) VALUES ('b', 'a', 1800000000000000000, 'x')";
    sqlx::query(load).execute(&mut *ann).await.unwrap();
    assert_eq!(text(ann, "SELECT message FROM order_lines('b')").await, "x");
    for lift in ["SET default_transaction_read_only = off", "SET transaction_read_only = off"] {
        sqlx::query(lift).execute(&mut *ada).await.unwrap();
    }
    for forbidden in
        ["SELECT * FROM store.host", "CREATE TEMP TABLE mine (x int)", "SET ROLE clockmaker"]
    {
        let refused = sqlx::query(forbidden).execute(&mut *ada).await.unwrap_err();
        assert_eq!(code(&refused).as_deref(), Some("42501"), "{forbidden}: {refused}");
    }
    sqlx::query("SET statement_timeout = 0").execute(&mut *ada).await.unwrap();
    let slept = sqlx::query("SELECT pg_sleep(3600)").execute(&mut *ada).await.unwrap_err();
    assert_eq!(code(&slept).as_deref(), Some("57014"), "{slept}");
    let (_, listed, err) = run(&world, &url, &["sql-user", "list"]).await;
    assert!(listed.contains("ada") && listed.contains("ann"), "{listed}{err}");

    let store = world.app().store().clone();
    let later = collector::clock::now() + crate::tiers::HOUR.times(5);
    let done = store.maintain_tiers(later, &crate::tiers::KEEP, 24).await.unwrap();
    assert_eq!(done.samples, 2, "{done:?}");
    // Client programs must be as new as the server.
    let programs = world.dir.path().join("programs.toml");
    let folder = binaries.map(|folder| format!("[database]\npostgres-bin = {folder:?}\n"));
    std::fs::write(&programs, folder.unwrap_or_default()).unwrap();
    let programs = ["--config", programs.to_str().unwrap()];
    let backup = world.dir.path().join("fleet.dump");
    let words = [&["db", "backup", backup.to_str().unwrap()][..], &programs].concat();
    let (done, _, err) = run(&world, &url, &words).await;
    assert!(done, "{err}");
    let (done, status, err) = run(&world, &url, &["db", "status"]).await;
    assert!(done && status.contains("disk free      unknown"), "{status}{err}");
    let (done, _, err) = run(&world, &url, &["sql-user", "remove", "ada"]).await;
    assert!(done && ada.ping().await.is_err(), "{err}");
    server.administer(&format!("CREATE DATABASE again OWNER {OWNER}")).await;
    let again = url.replace("/fleet?", "/again?");
    let words = [&["db", "restore", backup.to_str().unwrap()][..], &programs].concat();
    let (done, _, err) = run(&world, &again, &words).await;
    assert!(done && err.contains("1 hosts"), "{err}");
    world.stop().await;
    drop(sessions);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_with_createrole_is_enough() {
    with_createrole(None).await;
}

/// The same on a newer server: since version 16 CREATEROLE gives less.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_with_createrole_is_enough_on_a_newer_server() {
    let newer =
        std::env::var_os("TRUECHIMER_TEST_NEWER_PG_BIN").filter(|folder| !folder.is_empty());
    let Some(newer) = newer else {
        let reason = "TRUECHIMER_TEST_NEWER_PG_BIN names no folder with a newer Postgres";
        return skip("an_owner_with_createrole_is_enough_on_a_newer_server", reason);
    };
    with_createrole(Some(Path::new(&newer))).await;
}

/// Proves that an owner that may make no roles serves on those that the administrator made, that these read after the
/// grants that docs/OPERATIONS.md names, and that what needs more rights is refused in words.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_without_createrole_serves() {
    let mut server = Server::start(None).await;
    server
        .administer(&format!(
            "CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE fleet_reader LOGIN CONNECTION LIMIT 16 PASSWORD 'read';
             CREATE ROLE fleet_analyst;"
        ))
        .await;
    server.make_database().await;
    let url = server.url();
    let mut world = World::start_on(&url, "").await;
    let agent = Agent::enrol(&world, "a").await;
    let mut reports = agent.session().await;
    reports.send(vec![report(1)]).await;
    reports.ack().await;
    let granted = "GRANT USAGE ON SCHEMA fleet TO fleet_reader;
                   GRANT SELECT ON ALL TABLES IN SCHEMA fleet TO fleet_reader;";
    let mut owner = server.options(OWNER, PASSWORD).connect().await.unwrap();
    sqlx::raw_sql(granted).execute(&mut owner).await.unwrap();
    let mut reader = server.options("fleet_reader", "read").connect().await.unwrap();
    assert_eq!(text(&mut reader, "SELECT host FROM fleet.host_now").await, "a");
    let refused = sqlx::query("SELECT * FROM store.host").execute(&mut reader).await.unwrap_err();
    assert_eq!(code(&refused).as_deref(), Some("42501"), "{refused}");
    let (done, _, err) = run(&world, &url, &["sql-user", "add", "ada"]).await;
    assert!(!done && err.contains("permission denied"), "{err}");
    reader.close().await.unwrap();
    owner.close().await.unwrap();
    world.stop().await;
    server.stop().await;
}
