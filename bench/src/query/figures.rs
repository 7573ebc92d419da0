//! The figures, as a table with the goals beside.

use serde::Serialize;

pub(crate) const HEADER: &str = concat!(
    "                                                first time, ms:           again, ms:                goal,\n",
    "                                      times     p50      p99      max     p50      p99      max     ms"
);

/// All rows.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
}

/// How long one kind of question takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Questions asked, each about another host or moment.
    pub(crate) times: usize,
    /// When what they read had not been read just before.
    pub(crate) first: Spread,
    /// The same questions once more.
    pub(crate) again: Spread,
    pub(crate) goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// What is asked of a question's second time, in ms.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Goal {
    None,
    P50(f64),
    P99(f64),
}

impl Spread {
    /// `ms` holds at least one.
    pub(crate) fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| ms[((ms.len() as f64 * share).ceil() as usize).max(1) - 1];
        Self { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }

    fn text(self) -> String {
        format!("{:>8} {:>8} {:>8}", ms(self.p50_ms), ms(self.p99_ms), ms(self.max_ms))
    }
}

fn ms(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

impl Row {
    /// None: there is no goal.
    fn reached(&self) -> Option<bool> {
        match self.goal {
            Goal::None => None,
            Goal::P50(most) => Some(self.again.p50_ms < most),
            Goal::P99(most) => Some(self.again.p99_ms < most),
        }
    }

    pub(crate) fn text(&self) -> String {
        let goal = match self.goal {
            Goal::None => String::new(),
            Goal::P50(most) => format!("p50 < {most}"),
            Goal::P99(most) => format!("p99 < {most}"),
        };
        let word = match self.reached() {
            None => "",
            Some(true) => ", reached",
            Some(false) => ", MISSED",
        };
        format!(
            "{:<36} {:>6} {}{}    {goal}{word}",
            self.name,
            self.times,
            self.first.text(),
            self.again.text()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that percentiles are those of the sorted times, and that a goal is judged by the one it names.
    #[test]
    fn percentiles_and_goals() {
        let again = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!(again, Spread { p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(Spread::of(vec![7.0]).p99_ms, 7.0);
        let row = |goal| Row { name: String::new(), times: 200, first: again, again, goal };
        assert_eq!(row(Goal::P50(100.5)).reached(), Some(true));
        assert_eq!(row(Goal::P99(100.5)).reached(), Some(false));
        assert!(row(Goal::P99(198.0)).text().contains("MISSED"));
        assert_eq!(row(Goal::None).reached(), None);
    }
}
