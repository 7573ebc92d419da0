use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use collector::app::{App, Role, Roles};
use collector::config::Config;
use collector::secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::Command;

/// A collector on a fresh embedded cluster, or on a database of somebody else's server.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    app: Option<App>,
    database_url: Option<String>,
}

impl World {
    /// Runs the ingest role.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`World::start`], with settings of the test's own.
    pub(crate) async fn start_with(toml: &str) -> Self {
        let mut world = Self::nowhere();
        world.restart_with(toml).await;
        world
    }

    /// An empty folder.
    pub(crate) fn nowhere() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), app: None, database_url: None }
    }

    /// Runs the ingest role on a database that is there.
    pub(crate) async fn start_on(database_url: &str, toml: &str) -> Self {
        let mut world = Self::nowhere();
        world.database_url = Some(database_url.to_owned());
        world.restart_with(toml).await;
        world
    }

    /// Where another collector finds this one's database.
    pub(crate) async fn database_url(&self) -> String {
        if let Some(url) = &self.database_url {
            return url.clone();
        }
        let socket = self.text("SHOW unix_socket_directories").await;
        format!("postgres://truechimer@localhost/truechimer?host={socket}")
    }

    /// Starts the collector again in the same folder.
    pub(crate) async fn restart_with(&mut self, toml: &str) {
        assert!(self.app.is_none(), "it still runs");
        let app = App::start(self.config(toml), Roles::only(&[Role::Ingest])).await.unwrap();
        self.app = Some(app);
    }

    pub(crate) fn config(&self, toml: &str) -> Config {
        let mut config = Config::parse(toml).unwrap();
        config.data_dir = Some(self.dir.path().to_owned());
        if let Some(url) = &self.database_url {
            config.database.url.get_or_insert_with(|| url.clone());
        }
        for listen in [&mut config.grpc.listen, &mut config.web.listen, &mut config.observe.listen]
        {
            listen.set_port(0);
        }
        config
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    /// A graceful stop.
    pub(crate) async fn stop(&mut self) {
        self.app.take().unwrap().stop().await;
    }

    pub(crate) fn grpc(&self) -> String {
        format!("http://{}", self.app().grpc_address().unwrap())
    }

    /// A pool of the test's own, beside the collector's.
    pub(crate) async fn sql(&self) -> PgPool {
        match &self.database_url {
            Some(url) => PgPool::connect(url).await.unwrap(),
            None => {
                let embedded = self.app().database().embedded.as_ref().unwrap();
                PgPool::connect_with(embedded.connect_options()).await.unwrap()
            }
        }
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.sql().await).await.unwrap()
    }

    /// The text that a query gives.
    pub(crate) async fn text(&self, query: &'static str) -> String {
        sqlx::query_scalar(query).fetch_one(&self.sql().await).await.unwrap()
    }

    /// How often a host of this name was refused for this reason, by the table.
    pub(crate) async fn refusals(&self, name: &str, reason: &str) -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce(sum(r.count), 0)::int8 FROM store.refusal r JOIN store.host h USING (host_id)
             WHERE h.name = $1 AND r.reason = $2",
        )
        .bind(name)
        .bind(reason)
        .fetch_one(&self.sql().await)
        .await
        .unwrap()
    }

    pub(crate) async fn join_token(&self) -> String {
        let token = secret::generate(secret::Kind::JoinToken).unwrap();
        let store = self.app().store();
        store.add_token(&secret::hash(&token), "test", None, None).await.unwrap();
        token
    }

    /// `truechimer` with these words, in this folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        truechimer(self.dir.path(), words)
    }
}

/// The binary under test, in a data directory.
pub(crate) fn truechimer(data_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_truechimer"));
    command.args(words).arg("--data-dir").arg(data_dir);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Drop for World {
    /// A test that failed must not leave a server behind.
    fn drop(&mut self) {
        let pid_file = self.dir.path().join("postgres/data/postmaster.pid");
        let Ok(text) = std::fs::read_to_string(pid_file) else { return };
        let Some(pid) = text.lines().next().and_then(|pid| pid.parse().ok()) else { return };
        if kill(Pid::from_raw(pid), Signal::SIGQUIT).is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}
