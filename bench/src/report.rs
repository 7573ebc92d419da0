//! The figures for people, and whether the goals are met.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cells::CELLS;
use crate::resources::{self, WITH_REPORTER};
use crate::score::{Score, median};

/// At most this share of the better peer's RMS error.
const RMS_GOAL: f64 = 0.8;
/// At most this share of chrony's root distance with one or two servers, and with more.
const WIDTH_GOAL: f64 = 1.0;
const WIDTH_GOAL_OF_MANY: f64 = 0.5;
const MANY: usize = 3;
/// At most this multiple of chronyd's CPU time, and this much more memory.
const CPU_GOAL: f64 = 1.5;
const RSS_GOAL_KIB: f64 = 2048.0;

/// One goal: what was reached, against what was to be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) cell: String,
    pub(crate) repeat: u32,
    pub(crate) client: String,
    pub(crate) goal: &'static str,
    /// The peer of the comparison.
    pub(crate) against: String,
    pub(crate) reached: f64,
    pub(crate) limit: f64,
    /// `None` where the goal does not apply.
    pub(crate) met: Option<bool>,
}

fn is_agent(score: &Score) -> bool {
    score.client.starts_with(crate::AGENT)
}

fn is_chrony(score: &Score) -> bool {
    score.client.starts_with(crate::CHRONYD)
}

fn least<'a>(
    scores: impl Iterator<Item = &'a Score>,
    figure: impl Fn(&Score) -> f64,
) -> Option<(&'a str, f64)> {
    scores
        .map(|score| (score.client.as_str(), figure(score)))
        .filter(|(_, value)| value.is_finite() && *value > 0.0)
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The goals of every agent in one cell of one repeat.
pub(crate) fn goals(scores: &[Score]) -> Vec<Goal> {
    let agents = scores.iter().filter(|score| is_agent(score));
    agents.flat_map(|agent| goals_of(agent, scores)).collect()
}

fn goals_of(agent: &Score, scores: &[Score]) -> Vec<Goal> {
    let goal = |goal, against: Option<(&str, f64)>, reached: f64, limit, applies: bool| Goal {
        cell: agent.cell.clone(),
        repeat: agent.repeat,
        client: agent.client.clone(),
        goal,
        against: against.map_or(String::new(), |(name, _)| name.to_owned()),
        reached,
        limit,
        met: (applies && reached.is_finite()).then_some(reached <= limit),
    };
    let ratio = |mine: f64, peer: Option<(&str, f64)>| peer.map_or(f64::NAN, |(_, p)| mine / p);
    let peers = || scores.iter().filter(|score| !is_agent(score));
    let chrony = || scores.iter().filter(|score| is_chrony(score));
    if agent.cell == resources::CELL {
        let cpu = least(chrony(), |s| s.cpu_s_per_minute);
        let rss = least(chrony(), |s| s.rss_kib as f64);
        let more = rss.map_or(f64::NAN, |(_, kib)| agent.rss_kib as f64 - kib);
        let applies = !agent.client.contains(WITH_REPORTER);
        return vec![
            goal("CPU", cpu, ratio(agent.cpu_s_per_minute, cpu), CPU_GOAL, applies),
            goal("RSS more, KiB", rss, more, RSS_GOAL_KIB, applies),
        ];
    }
    let Some(cell) = CELLS.iter().find(|cell| cell.name == agent.cell) else { return vec![] };
    let width_goal = if cell.links.len() >= MANY { WIDTH_GOAL_OF_MANY } else { WIDTH_GOAL };
    let best = least(peers(), |s| s.rms_s);
    let best_chrony = least(chrony(), |s| s.rms_s);
    let width = least(chrony(), |s| s.half_width_mean_s);
    vec![
        goal("RMS / best peer", best, ratio(agent.rms_s, best), RMS_GOAL, cell.judged),
        goal("RMS / chrony", best_chrony, ratio(agent.rms_s, best_chrony), RMS_GOAL, false),
        goal("half-width", width, ratio(agent.half_width_mean_s, width), width_goal, true),
        goal("not covered", None, 1.0 - agent.coverage, 0.0, true),
    ]
}

/// One table for each cell of a repeat.
pub(crate) fn tables(scores: &[Score]) -> String {
    let mut text = String::new();
    for (name, about) in names() {
        let of_cell: Vec<_> = scores.iter().filter(|score| score.cell == name).cloned().collect();
        if !of_cell.is_empty() {
            let _ = writeln!(text, "\n{name}: {about}");
            table(&mut text, &of_cell, name == resources::CELL);
            goal_lines(&mut text, &goals(&of_cell));
        }
    }
    text
}

fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let cells = CELLS.iter().map(|cell| (cell.name, cell.about));
    cells.chain([(resources::CELL, resources::ABOUT)])
}

fn table(text: &mut String, scores: &[Score], only_costs: bool) {
    let _ = write!(text, "  {:<26}", "");
    if !only_costs {
        let _ = write!(
            text,
            "{:>10}{:>10}{:>10}{:>12}{:>12}{:>9}{:>10}",
            "RMS us", "99 % us", "mean us", "half-w. us", "max us", "covers", "answers"
        );
    }
    let _ = writeln!(
        text,
        "{:>9}{:>12}{:>11}{:>9}{:>9}",
        "pkt/min", "CPU ms/min", "wakes/min", "RSS KiB", "PSS KiB"
    );
    for score in scores {
        let _ = write!(text, "  {:<26}", score.client);
        if !only_costs {
            let us = |s: f64| s * 1e6;
            let _ = write!(
                text,
                "{:>10.2}{:>10.2}{:>10.2}{:>12.1}{:>12.1}{:>8.2}%{:>9.1}%",
                us(score.rms_s),
                us(score.p99_s),
                us(score.mean_error_s),
                us(score.half_width_mean_s),
                us(score.half_width_max_s),
                score.coverage * 100.0,
                score.answered * 100.0,
            );
        }
        let _ = writeln!(
            text,
            "{:>9.1}{:>12.2}{:>11.0}{:>9}{:>9}",
            score.packets_per_minute,
            score.cpu_s_per_minute * 1e3,
            score.wakes_per_minute,
            score.rss_kib,
            score.pss_kib
        );
    }
}

fn goal_lines(text: &mut String, goals: &[Goal]) {
    for goal in goals {
        let verdict = match goal.met {
            Some(true) => "pass",
            Some(false) => "MISS",
            None => "(no goal)",
        };
        let against = if goal.against.is_empty() { "" } else { " of " };
        let _ = writeln!(
            text,
            "    {:<24} {:<16} {:>8.3}  goal {:>7.2}  {verdict}{against}{}",
            goal.client, goal.goal, goal.reached, goal.limit, goal.against
        );
    }
}

/// The median over the repeats of every goal.
pub(crate) fn summary(goals: &[Goal]) -> String {
    let mut text = String::from("\nmedian over the repeats\n");
    let mut seen = Vec::new();
    for goal in goals {
        let key = (&goal.cell, &goal.client, goal.goal);
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let same = || goals.iter().filter(|g| (&g.cell, &g.client, g.goal) == key);
        let reached = median(same().map(|g| g.reached));
        let met = same().filter(|g| g.met == Some(true)).count();
        let of = same().filter(|g| g.met.is_some()).count();
        let _ = writeln!(
            text,
            "  {:<12} {:<24} {:<16} {reached:>8.3}  goal {:>7.2}  met {met} of {of}",
            goal.cell, goal.client, goal.goal, goal.limit
        );
    }
    text
}
