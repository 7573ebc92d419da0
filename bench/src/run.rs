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

/// How a run is done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Cell>,
    pub(crate) resources: bool,
    pub(crate) clients: Vec<Client>,
    pub(crate) polls: RangeInclusive<i8>,
    /// Clients of a kind in each cell; their readings are taken together.
    pub(crate) copies: u32,
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

/// All clients of one kind in one cell.
#[derive(Debug)]
struct Group {
    cell: &'static str,
    client: Client,
    running: Vec<Running>,
}

pub(crate) fn run(lab: &Lab, plan: &Plan, repeat: u32) -> Result<Outcome> {
    let mut links = Vec::new();
    let mut tasks = Vec::new();
    for cell in &plan.cells {
        let apply = |client: &&Client| !client.needs_several() || cell.links.len() > 1;
        for client in plan.clients.iter().filter(apply) {
            let mut task = |copy| lab.task(cell, client, copy, plan.polls.clone(), &mut links);
            let copies = (1..=plan.copies).map(&mut task).collect::<Result<Vec<_>>>()?;
            tasks.push((cell.name, client, copies));
        }
    }
    let idle =
        if plan.resources { resources::tasks(lab, &plan.clients, &mut links)? } else { vec![] };
    let proxy = Proxy::start(links, u64::from(repeat))?;
    let mut groups = Vec::new();
    for (cell, client, tasks) in &tasks {
        let mut group = Group { cell, client: (*client).clone(), running: Vec::new() };
        for task in tasks {
            group.running.push(lab.start(client, task)?);
        }
        groups.push(group);
    }
    let idle = resources::start(idle)?;
    wait(plan.warm_up, &mut groups)?;
    let begin = |group: &Group| group.running.iter().map(Begin::of).collect::<Vec<_>>();
    let begins: Vec<_> = groups.iter().map(begin).collect();
    let idle_before: Vec<_> = idle.iter().map(resources::Idle::so_far).collect();
    let started = Instant::now();
    wait(plan.measured, &mut groups)?;
    let seconds = started.elapsed().as_secs_f64();
    let scores = groups.iter().zip(begins).map(|(group, begins)| {
        let (mut readings, mut costs) = (Vec::new(), Vec::new());
        for (client, begin) in group.running.iter().zip(begins) {
            readings.extend(client.readings(begin.at));
            let packets = client.sent() - begin.sent;
            costs.push(Costs { seconds, packets, before: begin.usage, after: client.usage() });
        }
        Score::of(group.cell, repeat, &group.client.name, &readings, &costs)
    });
    let mut scores: Vec<_> = scores.collect();
    let idle = idle.iter().zip(idle_before);
    scores.extend(idle.map(|(idle, before)| idle.score(repeat, seconds, before)));
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

fn wait(time: Duration, groups: &mut [Group]) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now())));
        for client in groups.iter_mut().flat_map(|group| &mut group.running) {
            client.check()?;
        }
    }
    Ok(())
}
