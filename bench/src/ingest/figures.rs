//! The figures, as a table and against the goals.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// Goals: against psql; per cent of one core and 99 % of the answers, with a report every 10 s of
/// 100,000 hosts.
const OF_COPY: f64 = 0.8;
const CORE_PERCENT: f64 = 40.0;
const ANSWER_P99_MS: f64 = 250.0;
const STEADY_ROWS_PER_S: f64 = 10_000.0;
/// Of the rows asked for; the rest is on its way when measuring ends.
const KEEPS_UP: f64 = 0.95;

pub(crate) const HEADER: &str = concat!(
    "                                   CPU us per row:             ",
    "answer ms:         bytes per row:\n",
    "                 rows   rows/s collector postgres    fleet   ",
    " p50   p99   max     WAL    heap   index"
);

/// All rows.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
}

/// What one way of bringing rows in costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Rows a second that were asked for; none: as many as go in.
    pub(crate) asked_per_s: Option<f64>,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) collector_cpu_s: Option<f64>,
    pub(crate) postgres_cpu_s: f64,
    pub(crate) fleet_cpu_s: Option<f64>,
    /// p50, p99, longest.
    pub(crate) answer_ms: Option<[f64; 3]>,
    pub(crate) never_acknowledged: u64,
    pub(crate) wal_bytes: u64,
    pub(crate) heap_bytes_per_row: f64,
    pub(crate) index_bytes_per_row: f64,
    /// Of the file that psql read.
    pub(crate) file_bytes: Option<u64>,
    pub(crate) collector_rss_kib: Option<u64>,
}

impl Row {
    fn per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// Collector and Postgres, in per cent of one core.
    fn core_percent(&self) -> f64 {
        100.0 * (self.collector_cpu_s.unwrap_or(0.0) + self.postgres_cpu_s) / self.seconds
    }

    pub(crate) fn text(&self) -> String {
        let us = |cpu_s: Option<f64>| {
            cpu_s.map_or("-".to_owned(), |cpu_s| format!("{:.2}", cpu_s * 1e6 / self.rows as f64))
        };
        let answer =
            self.answer_ms.map_or(["-".to_owned(), "-".to_owned(), "-".to_owned()], |ms| {
                ms.map(|ms| format!("{ms:.0}"))
            });
        let mut text = format!(
            "{:<12} {:>8} {:>8.0} {:>9} {:>8} {:>8}   {:>4} {:>5} {:>5} {:>7.0} {:>7.1} {:>7.1}",
            self.name,
            self.rows,
            self.per_second(),
            us(self.collector_cpu_s),
            us(Some(self.postgres_cpu_s)),
            us(self.fleet_cpu_s),
            answer[0],
            answer[1],
            answer[2],
            self.wal_bytes as f64 / self.rows as f64,
            self.heap_bytes_per_row,
            self.index_bytes_per_row,
        );
        if let Some(bytes) = self.file_bytes {
            let _ = write!(text, "\n{:13}from a file of {:.0} MB", "", bytes as f64 / 1e6);
        }
        if self.asked_per_s.is_some() {
            let _ = write!(
                text,
                "\n{:13}collector {:.1} %, postgres {:.1} %, fleet {:.1} % of one core; collector {:.0} MiB",
                "",
                100.0 * self.collector_cpu_s.unwrap_or(0.0) / self.seconds,
                100.0 * self.postgres_cpu_s / self.seconds,
                100.0 * self.fleet_cpu_s.unwrap_or(0.0) / self.seconds,
                self.collector_rss_kib.unwrap_or(0) as f64 / 1024.0,
            );
        }
        if self.never_acknowledged > 0 {
            let _ =
                write!(text, "\n{:13}{} reports never acknowledged", "", self.never_acknowledged);
        }
        text
    }
}

impl Figures {
    /// What was reached of the goals, for what was measured.
    pub(crate) fn goals(&self) -> String {
        let mut text = String::from("\n");
        let mut say = |word: &str, what: String| {
            let _ = writeln!(text, "{word:<8}{what}");
        };
        let word = |reached: bool| if reached { "reached" } else { "MISSED" };
        let copy = self.rows.iter().find(|row| row.file_bytes.is_some());
        for row in self
            .rows
            .iter()
            .filter(|row| row.collector_cpu_s.is_some() && row.asked_per_s.is_none())
        {
            let Some(copy) = copy else { continue };
            let ratio = row.per_second() / copy.per_second();
            // Of one report a batch nothing is asked; it is there to compare.
            if row.name.starts_with('6') {
                let what = format!("{}: {ratio:.2} x psql, goal {OF_COPY}", row.name);
                say(word(ratio >= OF_COPY), what);
            }
        }
        for row in &self.rows {
            let Some(asked) = row.asked_per_s else { continue };
            let (percent, [_, p99, _]) = (row.core_percent(), row.answer_ms.unwrap_or_default());
            if asked < STEADY_ROWS_PER_S {
                say("", format!("{}: no goals for so small a load", row.name));
                continue;
            }
            let (rate, enough) = (row.per_second(), KEEPS_UP * asked);
            let what = format!("{}: {rate:.0} rows/s, asked for {asked:.0}", row.name);
            say(word(rate >= enough), what);
            let what = format!("{}: {percent:.1} % of one core, goal {CORE_PERCENT}", row.name);
            say(word(percent < CORE_PERCENT), what);
            let what = format!("{}: answer p99 {p99:.0} ms, goal {ANSWER_P99_MS}", row.name);
            say(word(p99 < ANSWER_P99_MS), what);
        }
        text
    }
}

/// What it was measured on.
pub(crate) fn machine(folder: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let kind = Command::new("stat").args(["-f", "-c", "%T"]).arg(folder).output();
    let kind =
        kind.map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let warning =
        if kind == "tmpfs" { " (memory, not a disk: nothing waits for a sync)" } else { "" };
    format!("{cores} cores, load {load} before; databases on {kind}{warning}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, rows: u64) -> Row {
        Row {
            name: name.to_owned(),
            asked_per_s: None,
            rows,
            seconds: 10.0,
            collector_cpu_s: Some(1.0),
            postgres_cpu_s: 2.0,
            fleet_cpu_s: Some(1.0),
            answer_ms: Some([20.0, 240.0, 300.0]),
            never_acknowledged: 0,
            wal_bytes: rows * 150,
            heap_bytes_per_row: 130.0,
            index_bytes_per_row: 60.0,
            file_bytes: None,
            collector_rss_kib: Some(1),
        }
    }

    /// Proves that goals are judged by the measured figures, and only where they were measured.
    #[test]
    fn goals_are_judged() {
        let copy = Row { file_bytes: Some(1), collector_cpu_s: None, ..row("psql", 1_000_000) };
        let steady = Row { asked_per_s: Some(10_000.0), ..row("100000 hosts", 100_000) };
        let good = Figures { rows: vec![row("6 a batch", 800_000), copy.clone(), steady.clone()] };
        assert_eq!(good.goals().matches("reached").count(), 4, "{}", good.goals());
        let slow = Row {
            rows: 90_000,
            postgres_cpu_s: 3.5,
            answer_ms: Some([1.0, 251.0, 252.0]),
            ..steady
        };
        let bad = Figures { rows: vec![row("6 a batch", 790_000), copy, slow] };
        assert_eq!(bad.goals().matches("MISSED").count(), 4, "{}", bad.goals());
        let small = Figures { rows: vec![Row { asked_per_s: Some(0.5), ..row("5 hosts", 5) }] };
        assert!(!small.goals().contains("reached") && !small.goals().contains("MISSED"));
    }
}
