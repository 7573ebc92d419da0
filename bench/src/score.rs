//! From readings to figures.

use serde::Serialize;

use crate::process::Usage;

/// What a client said at one moment, measured against the truth, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Since the start of the run.
    pub(crate) at: f64,
    /// Estimate − truth.
    pub(crate) error: f64,
    /// Window − truth: contains zero if it covers the truth.
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

/// The figures of the clients of one kind in one cell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Score {
    pub(crate) cell: String,
    pub(crate) repeat: u32,
    pub(crate) client: String,
    /// Readings after the warm-up.
    pub(crate) readings: usize,
    /// Of the moments asked, how many had an answer.
    pub(crate) answered: f64,
    pub(crate) mean_error_s: f64,
    pub(crate) rms_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) half_width_mean_s: f64,
    pub(crate) half_width_max_s: f64,
    /// Share of the readings whose window contained the truth.
    pub(crate) coverage: f64,
    pub(crate) packets_per_minute: f64,
    pub(crate) cpu_s_per_minute: f64,
    pub(crate) wakes_per_minute: f64,
    pub(crate) rss_kib: u64,
    pub(crate) pss_kib: u64,
}

/// What was measured around the readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    pub(crate) seconds: f64,
    pub(crate) packets: u64,
    pub(crate) before: Usage,
    pub(crate) after: Usage,
}

impl Score {
    pub(crate) fn of(
        cell: &str,
        repeat: u32,
        client: &str,
        readings: &[Reading],
        costs: &[Costs],
    ) -> Self {
        let count = readings.len() as f64;
        let clients = costs.len() as f64;
        // What one client costs: the mean over all.
        let each = |f: &dyn Fn(&Costs) -> f64| costs.iter().map(f).sum::<f64>() / clients;
        let minutes = each(&|c| c.seconds) / 60.0;
        let mean = |f: &dyn Fn(&Reading) -> f64| readings.iter().map(f).sum::<f64>() / count;
        let halves = || readings.iter().map(|r| (r.hi - r.lo) / 2.0);
        let mut sizes: Vec<f64> = readings.iter().map(|r| r.error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        Self {
            cell: cell.to_owned(),
            repeat,
            client: client.to_owned(),
            readings: readings.len(),
            answered: (count / costs.iter().map(|c| c.seconds.floor()).sum::<f64>()).min(1.0),
            mean_error_s: mean(&|r| r.error),
            rms_s: mean(&|r| r.error * r.error).sqrt(),
            p99_s: sizes.get((count * 0.99) as usize).copied().unwrap_or(f64::NAN),
            half_width_mean_s: halves().sum::<f64>() / count,
            half_width_max_s: halves().fold(f64::NAN, f64::max),
            coverage: mean(&|r| f64::from(u8::from(r.lo <= 0.0 && 0.0 <= r.hi))),
            packets_per_minute: each(&|c| c.packets as f64) / minutes,
            cpu_s_per_minute: each(&|c| c.after.cpu_s - c.before.cpu_s) / minutes,
            wakes_per_minute: each(&|c| (c.after.wakes.saturating_sub(c.before.wakes)) as f64)
                / minutes,
            rss_kib: each(&|c| c.after.rss_kib as f64) as u64,
            pss_kib: each(&|c| c.after.pss_kib as f64) as u64,
        }
    }
}

/// The middle value; NaN of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that errors, widths and coverage are computed as the report says.
    #[test]
    fn figures_are_what_they_are_called() {
        let reading = |error, lo, hi| Reading { at: 0.0, error, lo, hi };
        let readings = [reading(3.0, -1.0, 5.0), reading(-4.0, -6.0, -2.0)];
        let usage = |cpu_s| Usage { cpu_s, wakes: 3, rss_kib: 7, pss_kib: 5 };
        let costs = Costs { seconds: 120.0, packets: 8, before: usage(1.0), after: usage(2.0) };
        let score = Score::of("cell", 1, "client", &readings, &[costs]);
        assert_eq!((score.rms_s, score.p99_s), (12.5_f64.sqrt(), 4.0));
        assert_eq!((score.half_width_mean_s, score.half_width_max_s), (2.5, 3.0));
        assert_eq!((score.coverage, score.packets_per_minute), (0.5, 4.0));
        assert_eq!((score.cpu_s_per_minute, score.rss_kib), (0.5, 7));
        assert_eq!(median([3.0, 1.0, f64::NAN, 2.0]), 2.0);
    }
}
