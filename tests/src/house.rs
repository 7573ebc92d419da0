use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::process::{binary, free_port, output};
use crate::{Agent, AgentKnobs, Dice, Folder, Process, eventually, get};

/// A cold start makes a database cluster; this is far above what it takes on a loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Name and password of the one account.
pub const ACCOUNT: (&str, &str) = ("admin", "correct horse battery staple");

/// A whole platform in a temporary folder: collector, its Postgres, its pages.
#[derive(Debug)]
pub struct House {
    /// The collector; kill it at will.
    pub collector: Process,
    grpc_port: u16,
    web_port: u16,
    observe_port: u16,
    folder: Folder,
}

impl House {
    /// Starts one. `settings` is TOML that goes before the addresses in the collector's file.
    pub async fn start(settings: &str) -> Result<Self> {
        Self::start_in(Folder::new()?, settings).await
    }

    /// Starts one in this folder.
    pub async fn start_in(folder: Folder, settings: &str) -> Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let [grpc_port, web_port, observe_port] = ports;
        let addresses = [("grpc", grpc_port), ("web", web_port), ("observe", observe_port)]
            .map(|(part, port)| format!("[{part}]\nlisten = \"127.0.0.1:{port}\"\n"))
            .concat();
        fs::write(folder.path().join("collector.toml"), format!("{settings}\n{addresses}"))?;
        let collector = Process::start(&mut serve(&folder)?, &folder.path().join("collector.log"))?;
        let mut house = Self { collector, grpc_port, web_port, observe_port, folder };
        house.ready().await?;
        let password = house.folder.path().join("password");
        fs::write(&password, ACCOUNT.1)?;
        let password = password.to_string_lossy().into_owned();
        house.administer(&["user", "add", ACCOUNT.0, "--password-file", &password])?;
        let token = house.administer(&["token", "create", "--label", "test"])?;
        fs::write(house.join_token(), token)?;
        Ok(house)
    }

    /// Starts the collector again after it was killed or stopped.
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_unready()?;
        self.ready().await
    }

    /// The same without waiting until it is ready.
    pub fn restart_unready(&mut self) -> Result<()> {
        let log = self.folder.path().join("collector.log");
        self.collector = Process::start(&mut serve(&self.folder)?, &log)?;
        Ok(())
    }

    /// Waits until the collector says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let port = self.observe_port;
        let collector = &mut self.collector;
        let ready = eventually("the collector is ready", READY_WITHIN, async || {
            collector.lives()?;
            let answer = get(port, "/readyz").await?;
            Ok(if answer.status == 200 { Ok(()) } else { Err(answer.body) })
        })
        .await;
        ready.with_context(|| self.collector.log_end())
    }

    /// Runs an administration command of `truechimer` against this platform.
    pub fn administer(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(binary("truechimer")?);
        output(command.args(arguments).args(self.place()))
    }

    /// An agent of this platform that has reported ready.
    pub async fn agent(&self, knobs: AgentKnobs) -> Result<Agent> {
        Agent::start(self.folder.path(), &self.grpc_url(), &self.join_token(), knobs).await
    }

    /// The database as its owner sees it.
    pub async fn owner(&self) -> Result<PgPool> {
        self.connect(&["db", "url"]).await
    }

    /// The database as people may see it.
    pub async fn reader(&self) -> Result<PgPool> {
        self.connect(&["db", "url", "--reader"]).await
    }

    async fn connect(&self, arguments: &[&str]) -> Result<PgPool> {
        let url = self.administer(arguments)?;
        Ok(PgPoolOptions::new().max_connections(2).connect(url.trim()).await?)
    }

    /// SIGKILL to the database server.
    pub fn kill_9_postgres(&self) -> Result<()> {
        let pid = self.postgres().context("no Postgres runs")?;
        Ok(kill(pid, Signal::SIGKILL)?)
    }

    /// SIGKILL to one of the processes that the database server started; the server then ends all others
    /// and recovers.
    pub fn kill_9_a_backend(&self, dice: &mut Dice) -> Result<()> {
        let children = children(self.postgres().context("no Postgres runs")?)?;
        let n = dice.roll(children.len().max(1) as u64) as usize;
        match children.get(n) {
            Some(child) => kill_if_there(*child),
            None => Ok(()),
        }
    }

    /// SIGKILL to every process of the database at once, as when the machine loses power; what the
    /// kernel has not written to disk is not lost here.
    pub fn kill_9_whole_postgres(&self) -> Result<()> {
        let server = self.postgres().context("no Postgres runs")?;
        let children = children(server)?;
        kill_if_there(server)?;
        children.into_iter().try_for_each(kill_if_there)
    }

    /// Stops every process of the database where it stands (SIGSTOP): nothing answers and nothing is refused.
    /// They go on when the answer is dropped.
    pub fn freeze_postgres(&self) -> Result<Frozen> {
        let server = self.postgres().context("no Postgres runs")?;
        // The server first, or it would start new ones.
        let mut frozen = Frozen(Vec::new());
        for pid in [server].into_iter().chain(children(server)?) {
            match kill(pid, Signal::SIGSTOP) {
                Ok(()) => frozen.0.push(pid),
                Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(frozen)
    }

    /// Whether a database server runs in this platform's folder.
    pub fn postgres_runs(&self) -> bool {
        self.postgres().is_some_and(|pid| kill(pid, None).is_ok())
    }

    /// Starts a second collector on the same folder and other ports; what it said when it gave up.
    pub async fn serve_again(&self) -> Result<String> {
        let mut command = serve(&self.folder)?;
        command.args(["--grpc-listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"]);
        command.args(["--observe-listen", "127.0.0.1:0"]);
        let mut second = Process::start(&mut command, &self.folder.path().join("second.log"))?;
        eventually("the second collector gives up", READY_WITHIN, async || {
            Ok(if second.lives().is_err() { Ok(()) } else { Err("it runs") })
        })
        .await?;
        Ok(second.log_end())
    }

    fn postgres(&self) -> Option<Pid> {
        let file = self.folder.path().join("collector/postgres/data/postmaster.pid");
        let text = fs::read_to_string(file).ok()?;
        text.lines().next()?.parse().ok().map(Pid::from_raw)
    }

    /// Where agents connect.
    pub fn grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// Where people connect.
    pub fn web_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.web_port)
    }

    /// The file with this platform's join token.
    pub fn join_token(&self) -> PathBuf {
        self.folder.path().join("join-token")
    }

    /// The folder of everything that belongs to this platform.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What the collector's metrics say: the sum over labels of one name.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let answer = get(self.observe_port, "/metrics").await?;
        ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(crate::http::metric(&answer.body, name))
    }

    /// The collector's whole metrics page.
    pub async fn metrics(&self) -> Result<String> {
        Ok(get(self.observe_port, "/metrics").await?.body)
    }

    fn place(&self) -> Vec<String> {
        place(&self.folder)
    }
}

/// A database that stands still.
#[derive(Debug)]
pub struct Frozen(Vec<Pid>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.collector.kill_9();
        // The database outlives a killed collector by design; not the end of its test.
        if let Some(pid) = self.postgres() {
            let _ = kill(pid, Signal::SIGQUIT);
        }
    }
}

fn children(server: Pid) -> Result<Vec<Pid>> {
    let list = fs::read_to_string(format!("/proc/{server}/task/{server}/children"))?;
    Ok(list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
}

fn kill_if_there(pid: Pid) -> Result<()> {
    match kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn serve(folder: &Folder) -> Result<Command> {
    let mut command = Command::new(binary("truechimer")?);
    command.arg("serve").args(place(folder));
    Ok(command)
}

fn place(folder: &Folder) -> Vec<String> {
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    ["--data-dir".into(), path("collector"), "--config".into(), path("collector.toml")].into()
}
