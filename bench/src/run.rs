//! One run: every client in every cell, all at the same time.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cells::Cell;
use crate::clients::{Client, Running};
use crate::lab::Lab;
use crate::proxy::Proxy;
use crate::resources;
use crate::score::{Costs, Score};

/// Clients are started this far apart, so that their packets are, too.
const START_APART: Duration = Duration::from_millis(130);

/// How a run is done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Cell>,
    pub(crate) resources: bool,
    pub(crate) clients: Vec<Client>,
    pub(crate) polls: RangeInclusive<i8>,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What a run gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) scores: Vec<Score>,
    /// How late the emulated paths were: median, 99 %, worst, in microseconds.
    pub(crate) lateness_us: Option<[f64; 3]>,
}

pub(crate) fn run(lab: &Lab, plan: &Plan, repeat: u32) -> Result<Outcome> {
    let mut links = Vec::new();
    let mut tasks = Vec::new();
    for cell in &plan.cells {
        for client in &plan.clients {
            tasks.push((cell, client, lab.task(cell, client, plan.polls.clone(), &mut links)?));
        }
    }
    let idle =
        if plan.resources { resources::tasks(lab, &plan.clients, &mut links)? } else { vec![] };
    let proxy = Proxy::start(links, u64::from(repeat))?;
    let mut running = Vec::new();
    for (cell, client, task) in &tasks {
        running.push((cell.name, lab.start(client, task)?));
        thread::sleep(START_APART);
    }
    let idle = resources::start(idle)?;
    wait(plan.warm_up, &mut running)?;
    let before: Vec<_> = running.iter().map(|(_, client)| Begin::of(client)).collect();
    let idle_before: Vec<_> = idle.iter().map(resources::Idle::usage).collect();
    let started = Instant::now();
    wait(plan.measured, &mut running)?;
    let seconds = started.elapsed().as_secs_f64();
    let scores = running.iter().zip(before).map(|((cell, client), begin)| {
        let costs = Costs {
            seconds,
            packets: client.sent() - begin.sent,
            before: begin.usage,
            after: client.usage(),
        };
        let readings = client.readings(begin.at);
        Score::of(cell, repeat, &client.client.name, &readings, costs)
    });
    let mut scores: Vec<_> = scores.collect();
    scores.extend(
        idle.iter().zip(idle_before).map(|(idle, before)| idle.score(repeat, seconds, before)),
    );
    Ok(Outcome { scores, lateness_us: proxy.lateness_us() })
}

struct Begin {
    at: f64,
    sent: u64,
    usage: crate::process::Usage,
}

impl Begin {
    fn of(client: &Running) -> Self {
        Self { at: client.age_s(), sent: client.sent(), usage: client.usage() }
    }
}

fn wait(time: Duration, running: &mut [(&str, Running)]) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now())));
        for (_, client) in running.iter_mut() {
            client.check()?;
        }
    }
    Ok(())
}
