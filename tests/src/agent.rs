use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent_core::spool::Frames;
use anyhow::{Context, Result};
use fleet_proto::pb;
use prost::Message;
use serde_json::Value;

use crate::process::{binary, free_port, output};
use crate::{Process, eventually, get};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// What differs between the agents of a test.
#[derive(Clone, Debug, Default)]
pub struct AgentKnobs {
    /// Host name it reports.
    pub host: String,
    /// Its time sources, `address:port`.
    pub servers: Vec<String>,
    /// Where its state is; `None`: beside its configuration.
    pub state_dir: Option<PathBuf>,
    /// TOML that goes among the top-level keys of its configuration file.
    pub settings: String,
}

/// A real agent with its own state folder.
#[derive(Debug)]
pub struct Agent {
    /// The process; kill it at will.
    pub process: Process,
    folder: PathBuf,
    state_dir: PathBuf,
    observe_port: u16,
}

impl Agent {
    pub(crate) async fn start(
        house: &Path,
        collector: &str,
        join_token: &Path,
        knobs: AgentKnobs,
    ) -> Result<Self> {
        let folder = house.join(format!("agent-{}", knobs.host));
        fs::create_dir(&folder)?;
        let observe_port = free_port()?;
        let state_dir = knobs.state_dir.unwrap_or_else(|| folder.join("state"));
        let servers: Vec<_> = knobs.servers.iter().map(|server| format!("{server:?}")).collect();
        let text = format!(
            "name = {:?}\nstate-dir = {:?}\ncollector = {collector:?}\njoin-token-file = \
             {join_token:?}\nreport-interval = \"1 s\"\n{}\n[ntp]\nmin-poll = 0\nmax-poll = 0\n\
             servers = [{}]\n[observe]\nlisten = \"127.0.0.1:{observe_port}\"\n",
            knobs.host,
            state_dir,
            knobs.settings,
            servers.join(", ")
        );
        fs::write(folder.join("agent.toml"), text)?;
        let process = Process::start(&mut run(&folder)?, &folder.join("log"))?;
        let mut agent = Self { process, folder, state_dir, observe_port };
        agent.ready().await?;
        Ok(agent)
    }

    /// Starts it again after it was killed.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = Process::start(&mut run(&self.folder)?, &self.folder.join("log"))?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let port = self.observe_port;
        let process = &mut self.process;
        let ready = eventually("the agent is ready", READY_WITHIN, async || {
            process.lives()?;
            let answer = get(port, "/readyz").await?;
            Ok(if answer.status == 200 { Ok(()) } else { Err(answer.body) })
        })
        .await;
        ready.with_context(|| self.process.log_end())
    }

    /// What `truechimer-agent status --json` prints.
    pub fn status(&self) -> Result<Value> {
        let mut command = Command::new(binary("truechimer-agent")?);
        command.args(["status", "--json", "--config"]).arg(self.folder.join("agent.toml"));
        Ok(serde_json::from_str(&output(&mut command)?)?)
    }

    /// The highest report number that its spool calls acknowledged.
    pub fn acknowledged(&self) -> Result<i64> {
        let text = fs::read_to_string(self.state_dir.join("spool/cursor"))?;
        let last = text.lines().filter_map(|line| line.split_once(' ')?.1.parse().ok()).max();
        last.context("nothing is acknowledged")
    }

    /// The number of every report that lies whole in its spool, acknowledged or not.
    pub fn spooled(&self) -> Result<BTreeSet<i64>> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(self.state_dir.join("spool"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "segment") {
                let bytes = fs::read(&path)?;
                // The first frame names the boot; what is torn at the end was never promised.
                for (_, frame) in Frames::new(&bytes).skip(1).map_while(Result::ok) {
                    found.insert(pb::Report::decode(frame)?.seq.cast_signed());
                }
            }
        }
        Ok(found)
    }

    /// The agent's metrics page.
    pub async fn metrics(&self) -> Result<String> {
        Ok(get(self.observe_port, "/metrics").await?.body)
    }
}

fn run(folder: &Path) -> Result<Command> {
    let mut command = Command::new(binary("truechimer-agent")?);
    command.args(["run", "--config"]).arg(folder.join("agent.toml"));
    Ok(command)
}
