use std::path::Path;
use std::time::Instant;

use collector::postgres::{Embedded, PostgresError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::{Agent, World, eventually, report, truechimer};

/// The real binary, serving from a folder.
pub(crate) struct Served {
    pub(crate) child: Child,
    data_dir: std::path::PathBuf,
}

impl Served {
    /// Returns once it says that it serves.
    pub(crate) async fn start(data_dir: &Path) -> Self {
        let mut words = vec!["serve", "--role", "ingest"];
        for listen in ["--grpc-listen", "--observe-listen"] {
            words.extend([listen, "127.0.0.1:0"]);
        }
        let mut command = truechimer(data_dir, &words);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = async {
            let mut said = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("metrics and health at") {
                    return;
                }
                said.push_str(&line);
            }
            panic!("it ended: {said}");
        };
        tokio::time::timeout(crate::support::PATIENCE, said).await.unwrap();
        // Read on, or its log would block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, data_dir: data_dir.to_owned() }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().unwrap().try_into().unwrap()
    }

    pub(crate) fn postmaster(&self) -> i32 {
        postmaster(&self.data_dir)
    }
}

fn postmaster(data_dir: &Path) -> i32 {
    let text = std::fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

/// Proves that data outlives a stop, that the cluster is private to its socket and durable, and prints
/// how long a cold start, a warm start and a stop take.
#[tokio::test(flavor = "multi_thread")]
async fn data_outlives_a_stop() {
    let at = Instant::now();
    let mut world = World::start().await;
    let cold = at.elapsed();
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    session.send(vec![report(1)]).await;
    session.ack().await;
    drop(session);
    for (setting, value) in [("fsync", "on"), ("listen_addresses", ""), ("full_page_writes", "on")]
    {
        let shown: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&world.sql().await)
            .await
            .unwrap();
        assert_eq!(shown, value, "{setting}");
    }
    // From the first start on, where this build of the server has it.
    let best = "SELECT current_setting('wal_compression') =
                       CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'on' END
                FROM pg_settings WHERE name = 'wal_compression'";
    let compressed: bool = sqlx::query_scalar(best).fetch_one(&world.sql().await).await.unwrap();
    assert!(compressed);
    let at = Instant::now();
    world.stop().await;
    let stop = at.elapsed();
    let at = Instant::now();
    world.restart_with("").await;
    let warm = at.elapsed();
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, 1);
    println!("cold start {cold:.0?}, stop {stop:.0?}, warm start {warm:.0?}");
    world.stop().await;
}

/// Proves that a killed postmaster is recovered while we serve: what was acknowledged is there, what
/// comes next is acknowledged on the same session.
#[tokio::test(flavor = "multi_thread")]
async fn killed_postmaster_recovers() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    session.send(vec![report(1)]).await;
    session.ack().await;
    let before = postmaster(world.dir.path());
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    session.send(vec![report(1), report(2)]).await;
    assert_eq!(session.ack().await.seq, 2);
    assert_ne!(postmaster(world.dir.path()), before);
    assert_eq!(world.number("SELECT count(*) FROM store.sample").await, 2);
    world.stop().await;
}

/// Proves that the server of a collector that was killed is adopted by the next, not started beside it,
/// and that a killed pair of both recovers.
#[tokio::test(flavor = "multi_thread")]
async fn orphan_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path()).await;
    let orphan = served.postmaster();
    served.child.kill().await.unwrap();
    let adopted = Embedded::start(dir.path(), None).await.unwrap();
    assert_eq!(adopted.pid(), Some(orphan));
    adopted.stop().await;

    let mut served = Served::start(dir.path()).await;
    kill(Pid::from_raw(served.postmaster()), Signal::SIGKILL).unwrap();
    served.child.kill().await.unwrap();
    let recovered = Embedded::start(dir.path(), None).await.unwrap();
    assert!(recovered.pid().is_some());
    recovered.stop().await;
}

/// Proves that a second collector on the same folder is refused in words, and the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn second_instance_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Embedded::start(dir.path(), None).await.unwrap();
    let error = Embedded::start(dir.path(), None).await.unwrap_err();
    assert!(matches!(error, PostgresError::InUse { .. }), "{error}");
    let me = std::process::id().to_string();
    assert!(error.to_string().contains(&me), "{error}");
    store::answers(&first.connect_options()).await.unwrap();
    first.stop().await;
}

/// Proves that files of a dead server, naming a process that lives but is another program, do not stop
/// the next start.
#[tokio::test(flavor = "multi_thread")]
async fn stale_files_are_cleared() {
    let dir = tempfile::tempdir().unwrap();
    Embedded::start(dir.path(), None).await.unwrap().stop().await;
    let postgres = dir.path().join("postgres");
    let me = std::process::id();
    std::fs::write(postgres.join("data/postmaster.pid"), format!("{me}\n/nowhere\n0\n")).unwrap();
    std::fs::write(postgres.join("socket/.s.PGSQL.5432.lock"), format!("{me}\n/nowhere\n"))
        .unwrap();
    let again = Embedded::start(dir.path(), None).await.unwrap();
    store::answers(&again.connect_options()).await.unwrap();
    again.stop().await;
}

/// Proves that a folder whose path is too long for a unix socket serves all the same.
#[tokio::test(flavor = "multi_thread")]
async fn long_path_has_its_socket_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120));
    let embedded = Embedded::start(&deep, None).await.unwrap();
    let socket = collector::postgres::socket_folder(&deep).unwrap();
    assert!(!socket.starts_with(dir.path()) && socket.join(".s.PGSQL.5432").exists());
    store::answers(&embedded.connect_options()).await.unwrap();
    embedded.stop().await;
    std::fs::remove_dir_all(socket).unwrap();
}

/// Proves that a cluster of another major version and missing binaries are refused in words that say
/// what to do.
#[tokio::test(flavor = "multi_thread")]
async fn unusable_servers_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let none = Embedded::start(dir.path(), Some(Path::new("/nonexistent"))).await.unwrap_err();
    assert!(matches!(none, PostgresError::NoBinaries { .. }), "{none}");
    std::fs::create_dir(dir.path().join("postgres/data")).unwrap();
    std::fs::write(dir.path().join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let other = Embedded::start(dir.path(), None).await.unwrap_err();
    assert!(other.to_string().contains("Postgres 9"), "{other}");
}

/// Proves that while the database is away the collector says that it is not ready, and why.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database() {
    let mut world = World::start().await;
    let url = format!("http://{}/readyz", world.app().observe_address());
    let ready = async || reqwest::get(&url).await.unwrap().status().is_success();
    assert!(ready().await);
    // Stopped, not killed: the supervisor sees nothing to restart, the database just hangs.
    let postmaster = Pid::from_raw(postmaster(world.dir.path()));
    let backends = "SELECT pid FROM pg_stat_activity WHERE application_name = 'truechimer'";
    let pool = world.sql().await;
    let pids: Vec<i32> = sqlx::query_scalar(backends).fetch_all(&pool).await.unwrap();
    pool.close().await;
    let signal = |signal| {
        for pid in pids.iter().copied().map(Pid::from_raw).chain([postmaster]) {
            // A backend of the closed pool is gone.
            let _ = kill(pid, signal);
        }
    };
    signal(Signal::SIGSTOP);
    eventually("not ready", async || (!ready().await).then_some(())).await;
    let words = reqwest::get(&url).await.unwrap().text().await.unwrap();
    signal(Signal::SIGCONT);
    assert!(words.contains("database"), "{words}");
    eventually("ready again", async || ready().await.then_some(())).await;
    world.stop().await;
}
