//! What a client costs that nobody asks anything: four sources, no private clock, no output.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::cells::Server;
use crate::clients::{Client, Kind, Task};
use crate::delay::Path;
use crate::lab::Lab;
use crate::process::{Process, Usage};
use crate::proxy::Link;
use crate::score::{Costs, Score};

pub(crate) const CELL: &str = "resources";
pub(crate) const ABOUT: &str = "four servers at polls of 16 s, nobody asks; no private clock";
/// What the agent with the reporter is called in addition.
pub(crate) const WITH_REPORTER: &str = " +reporter";

const SOURCES: usize = 4;
const POLL: i8 = 4;
/// The discard port: nobody listens, so that reports are kept on disk and tried again.
const NO_COLLECTOR: &str = "http://127.0.0.1:9";

/// A client that is only watched.
#[derive(Debug)]
pub(crate) struct Idle {
    name: String,
    process: Process,
    requests: Vec<Arc<AtomicU64>>,
}

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Order {
    name: String,
    client: Client,
    task: Task,
    requests: Vec<Arc<AtomicU64>>,
}

/// The clients that need no private clock: those that do not steer.
pub(crate) fn tasks(lab: &Lab, clients: &[Client], links: &mut Vec<Link>) -> Result<Vec<Order>> {
    let mut tasks = Vec::new();
    for client in clients {
        let collectors: &[_] = match &client.kind {
            Kind::Agent { steers: false, trusting: false, .. } => {
                &[("", None), (WITH_REPORTER, Some(NO_COLLECTOR))]
            }
            Kind::Chrony { steers: false, .. } => &[("", None)],
            _ => &[],
        };
        for (suffix, collector) in collectors {
            let (mut servers, mut requests) = (Vec::new(), Vec::new());
            for _ in 0..SOURCES {
                let link = lab.link(Server::Honest, Path::symmetric(200.0, 20.0))?;
                servers.push(link.address()?);
                requests.push(link.requests());
                links.push(link);
            }
            let name = format!("{}{suffix}", client.name);
            let folder = lab.folder.join(format!("{CELL}-{}", name.replace([' ', '/'], "-")));
            let task = Task { servers, polls: POLL..=POLL, folder, collector: *collector };
            tasks.push(Order { name, client: client.clone(), task, requests });
        }
    }
    Ok(tasks)
}

pub(crate) fn start(orders: Vec<Order>) -> Result<Vec<Idle>> {
    let start = |Order { name, client, task, requests }| {
        let (program, mut arguments) = client.command(&task)?;
        arguments.retain(|argument| argument != "--json");
        let log = task.folder.join("log");
        let process =
            Process::start(program, arguments, &[], log, false).with_context(|| name.clone())?;
        Ok(Idle { name, process, requests })
    };
    orders.into_iter().map(start).collect()
}

impl Idle {
    /// What it used and sent so far.
    pub(crate) fn so_far(&self) -> (Usage, u64) {
        let sent = self.requests.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (self.process.usage(), sent)
    }

    pub(crate) fn score(&self, repeat: u32, seconds: f64, begin: (Usage, u64)) -> Score {
        let (after, sent) = self.so_far();
        let costs = Costs { seconds, packets: sent - begin.1, before: begin.0, after };
        Score::of(CELL, repeat, &self.name, &[], &[costs])
    }
}
