//! The agent against its peers: the same servers, the same emulated paths, at the same time.
//!
//! Every client runs on a private clock whose true error is known here. What the columns mean is in
//! `docs/BENCHMARKS.md`.

mod cells;
mod clients;
mod clock;
mod delay;
mod lab;
mod private_clock;
mod process;
mod proxy;
mod report;
mod resources;
mod run;
mod score;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;

use crate::cells::{CELLS, Cell};
use crate::clients::{Client, Kind};
use crate::lab::Lab;
use crate::run::{Plan, run};

/// How the clients are called in the report.
pub(crate) const AGENT: &str = "truechimer";
pub(crate) const CHRONYD: &str = "chronyd";
const NTPD_RS: &str = "ntpd-rs";

/// With `--long`.
const LONG_POLLS: std::ops::RangeInclusive<i8> = 6..=8;
const LONG_MEASURED: Duration = Duration::from_secs(3600);
/// Polls that pass before anything counts, and the least time.
const WARM_UP_POLLS: u32 = 16;
const WARM_UP_LEAST: Duration = Duration::from_secs(20);

/// Compares the agent with chronyd and ntpd-rs over emulated paths.
#[derive(Debug, Parser)]
#[command(name = "bench-ntp", version)]
struct Options {
    /// The agent's program; LABEL=PATH to compare several builds.
    #[arg(long = "agent", value_name = "[LABEL=]PATH", required = true)]
    agents: Vec<String>,
    /// chronyd, which is also the server.
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/chronyd")]
    chronyd: PathBuf,
    /// ntpd-rs's ntp-daemon; without it, it takes no part.
    #[arg(long, value_name = "PATH")]
    ntpd_rs: Option<PathBuf>,
    /// Leaves out the clients whose name contains this.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    without: Vec<String>,
    /// Only these cells.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    cells: Vec<String>,
    /// How long each cell is measured; all cells run at the same time.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How long before measuring starts; not given: 16 polls, at least 20 s.
    #[arg(long, value_name = "SECONDS")]
    warm_up: Option<u64>,
    /// Poll interval as a power of two in seconds.
    #[arg(long, value_name = "N", default_value_t = 4)]
    poll: i8,
    /// Only the cells at long polls, 64 s to 256 s, for an hour.
    #[arg(long)]
    long: bool,
    /// Clients of a kind in each cell, whose readings are taken together: the more, the less does
    /// luck with the drawn delays count.
    #[arg(long, value_name = "N", default_value_t = 3)]
    copies: u32,
    /// Runs everything so many times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// One cell after the other, on a machine that cannot take all at once.
    #[arg(long)]
    one_at_a_time: bool,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps configurations and logs of all clients in this folder.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let temporary = tempfile::tempdir()?;
    let folder = options.keep.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let plan = options.plan()?;
    options.say(&plan);
    let lab = Lab::new(&std::fs::canonicalize(folder)?, &options.chronyd)?;
    let (mut scores, mut goals) = (Vec::new(), Vec::new());
    for repeat in 1..=options.repeat {
        for part in options.parts(&plan) {
            let outcome = run(&lab, &part, repeat)?;
            print!("{}", report::tables(&outcome.scores));
            if let Some(load) = load() {
                println!("\nload of the machine at the end (1, 5, 15 minutes): {load}");
            }
            if let Some([median, most, worst]) = outcome.lateness_us {
                println!(
                    "emulated paths released packets late by {median:.1} us (median), {most:.1} us \
                     (99 %), {worst:.0} us (worst)"
                );
            }
            let cells = part.cells.iter().map(|cell| cell.name).chain([resources::CELL]);
            for cell in cells {
                let of_cell: Vec<_> =
                    outcome.scores.iter().filter(|score| score.cell == cell).cloned().collect();
                goals.extend(report::goals(&of_cell));
            }
            scores.extend(outcome.scores);
        }
    }
    if options.repeat > 1 {
        print!("{}", report::summary(&goals));
    }
    if let Some(path) = &options.json {
        let all = json!({ "scores": scores, "goals": goals });
        std::fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

impl Options {
    fn plan(&self) -> Result<Plan> {
        let wanted = |cell: &&Cell| {
            if self.cells.is_empty() {
                cell.long == self.long
            } else {
                self.cells.iter().any(|c| c == cell.name)
            }
        };
        let cells: Vec<_> = CELLS.iter().filter(wanted).copied().collect();
        let resources = if self.cells.is_empty() {
            !self.long
        } else {
            self.cells.iter().any(|c| c == resources::CELL)
        };
        let known: Vec<_> = CELLS.iter().map(|cell| cell.name).chain([resources::CELL]).collect();
        if let Some(unknown) = self.cells.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("no cell is called {unknown}; there are {}", known.join(", "));
        }
        let polls = if self.long { LONG_POLLS } else { self.poll..=self.poll };
        let longest = Duration::from_secs_f64(2.0_f64.powi((*polls.start()).into()));
        let warm_up =
            self.warm_up.map_or((longest * WARM_UP_POLLS).max(WARM_UP_LEAST), Duration::from_secs);
        let default = if self.long { LONG_MEASURED } else { Duration::from_secs(300) };
        let measured = self.seconds.map_or(default, Duration::from_secs);
        Ok(Plan {
            cells,
            resources,
            clients: self.clients(),
            polls,
            copies: self.copies,
            warm_up,
            measured,
        })
    }

    fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        let mut add = |name: String, kind| {
            if !self.without.iter().any(|without| name.contains(without)) {
                clients.push(Client { name, kind });
            }
        };
        for agent in &self.agents {
            let (label, path) = agent.split_once('=').unwrap_or(("", agent));
            let name = format!("{AGENT} {label}").trim().to_owned();
            let program = PathBuf::from(path);
            let steers = can_steer(&program);
            let agent =
                |steers, trusting| Kind::Agent { program: program.clone(), steers, trusting };
            add(name.clone(), agent(false, false));
            add(format!("{name} faults=0"), agent(false, true));
            if steers {
                add(format!("{name} steering"), agent(true, false));
            }
        }
        for (suffix, steers, interleaved) in
            [(" -x", false, false), ("", true, false), (" xleave", true, true)]
        {
            let program = self.chronyd.clone();
            add(format!("{CHRONYD}{suffix}"), Kind::Chrony { program, steers, interleaved });
        }
        if let Some(program) = self.ntpd_rs.clone() {
            add(NTPD_RS.to_owned(), Kind::NtpdRs { program });
        }
        clients
    }

    fn parts(&self, plan: &Plan) -> Vec<Plan> {
        if !self.one_at_a_time {
            return vec![plan.clone()];
        }
        let part = |cells, resources| Plan { cells, resources, ..plan.clone() };
        let cells = plan.cells.iter().map(|cell| part(vec![*cell], false));
        cells.chain(plan.resources.then(|| part(vec![], true))).collect()
    }

    fn say(&self, plan: &Plan) {
        let how = if self.one_at_a_time {
            "one cell after the other"
        } else {
            "all cells at the same time"
        };
        println!(
            "polls 2^{} to 2^{} s, {how}: {} s after a warm-up of {} s, \
             {} of each client, {} repeat(s)",
            plan.polls.start(),
            plan.polls.end(),
            plan.measured.as_secs(),
            plan.warm_up.as_secs(),
            self.copies,
            self.repeat,
        );
        if self.ntpd_rs.is_none() {
            println!("{NTPD_RS} takes no part: it is not installed, or was left out");
        }
    }
}

/// How busy the machine is: figures of a busy one are noisy.
fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    Some(text.split_whitespace().take(3).collect::<Vec<_>>().join(", "))
}

/// Whether this build of the agent can steer a clock.
fn can_steer(program: &Path) -> bool {
    let help = Command::new(program).args(["run", "--help"]).output();
    help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--discipline"))
}
