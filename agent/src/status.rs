//! `truechimer-agent status`: asks the running agent and shows a table.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use timebase::{Bounds, Span};

use crate::view::{SourceView, View};

/// Longest wait for the running agent.
const PATIENCE: Duration = Duration::from_secs(5);

/// The snapshot of the agent behind `socket`, as it sent it.
pub fn ask(socket: &Path) -> Result<String> {
    let mut stream = UnixStream::connect(socket).with_context(|| {
        format!(
            "no agent answers at {}: is `truechimer-agent run` running, with the same state-dir?",
            socket.display()
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("the agent does not answer in time")?;
    if text.is_empty() {
        anyhow::bail!("the agent has only just started: try again in a second");
    }
    Ok(text)
}

/// The snapshot for people.
pub fn render(view: &View) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = summary(&mut out, view);
    let _ = sources(&mut out, &view.sources);
    out
}

fn summary(out: &mut String, view: &View) -> std::fmt::Result {
    let mut line = |name: &str, value: String| writeln!(out, "{name:<12} {value}");
    match bounds(view.lo, view.hi) {
        Some(window) => {
            line("window", format!("{window}  (system clock − UTC, certain; + is ahead)"))?;
        }
        None => line("window", "none: no source has given one".to_owned())?,
    }
    if let Some(s) = &view.stat {
        let (offset, sigma) = (seconds(s.offset), seconds(s.sigma));
        let samples = s.samples;
        line("offset", format!("{}  (estimate, σ {sigma}, {samples} samples)", offset.signed()))?;
    }
    line("state", view.state.clone())?;
    if let Some(ppm) = view.frequency_ppm {
        let sigma = view.frequency_sigma_ppm.map_or(String::new(), |s| format!(", σ {s:.3} ppm"));
        let limit = view.drift_limit_ppm;
        line("oscillator", format!("{ppm:+.3} ppm{sigma}  (limit assumed: ±{limit} ppm)"))?;
    }
    line("discipliner", format!("{}, clock epoch {} of this boot", view.discipliner, view.steps))?;
    line("discipline", view.discipline.text.clone())?;
    let kernel = &view.kernel;
    let word = if kernel.synchronised { "synchronised" } else { "not synchronised" };
    line(
        "kernel",
        format!(
            "{word}, error at most {}, estimated {}, steering {:+.3} ppm",
            seconds(kernel.max_error),
            seconds(kernel.estimated_error),
            kernel.frequency_ppm
        ),
    )?;
    if let Some(uplink) = &view.uplink {
        let unsent = view.unsent_reports.unwrap_or(0);
        line("collector", format!("{uplink}, {unsent} reports unsent"))?;
    }
    Ok(())
}

const HEAD: [&str; 12] = [
    "source", "address", "verdict", "offset", "lo", "hi", "delay", "stratum", "reach", "stamps",
    "mode", "auth",
];
/// The columns of words; numbers are aligned to the right.
const WORDS: [usize; 6] = [0, 1, 2, 9, 10, 11];

fn sources(out: &mut String, sources: &[SourceView]) -> std::fmt::Result {
    if sources.is_empty() {
        return writeln!(out, "\nno sources");
    }
    let rows: Vec<_> = sources.iter().map(row).collect();
    let head = HEAD.map(str::to_owned);
    let widths: Vec<_> = (0..HEAD.len())
        .map(|c| rows.iter().chain([&head]).map(|row| row[c].chars().count()).max().unwrap_or(0))
        .collect();
    writeln!(out)?;
    for row in [&head].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if WORDS.contains(&column) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let line: Vec<_> = cells.collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(source: &SourceView) -> [String; HEAD.len()] {
    let signed = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| seconds(value).signed().to_string())
    };
    let plain = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| seconds(value).to_string())
    };
    [
        source.name.clone(),
        if source.address.is_empty() { "–".to_owned() } else { source.address.clone() },
        source.verdict.clone(),
        signed(source.offset),
        signed(source.lo),
        signed(source.hi),
        plain(source.delay),
        if source.stratum == 0 { "–".to_owned() } else { source.stratum.to_string() },
        format!("{:08b}", source.reach),
        source.stamps.clone(),
        if source.interleaved { "interleaved" } else { "basic" }.to_owned(),
        source.auth.clone(),
    ]
}

fn bounds(lo: Option<f64>, hi: Option<f64>) -> Option<Bounds> {
    Bounds::new(seconds(lo?), seconds(hi?))
}

fn seconds(value: f64) -> Span {
    Span::from_secs_f64(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view() -> View {
        serde_json::from_value(json!({
            "t": 1.7e9, "offset": 0.000_012, "lo": -0.000_4, "hi": 0.001_25,
            "state": "synchronised",
            "stat": {"offset": 0.000_012, "sigma": 0.000_002, "k": 3.0, "samples": 8},
            "frequency_ppm": -11.25, "frequency_sigma_ppm": 0.5, "drift_limit_ppm": 50.0,
            "steps": 1, "discipliner": "chronyd",
            "discipline": {"state": "refused", "text": "refused: chronyd steers the clock"},
            "kernel": {"synchronised": true, "max_error": 0.02, "estimated_error": 0.0,
                "frequency_ppm": -11.0, "tai_offset": 37},
            "sources": [
                {"name": "a.example", "address": "192.0.2.1:123", "verdict": "selected",
                    "offset": 0.000_012, "lo": -0.000_4, "hi": 0.001_25, "delay": 0.000_9,
                    "jitter": 0.000_001, "reach": 255, "poll": 6, "stratum": 1,
                    "reference": "GPS", "root_delay": 0.0, "root_dispersion": 0.0,
                    "auth": "nts", "interleaved": true, "stamps": "kernel", "accepted": 9, "refused": 0},
                {"name": "long.name.example:1123", "address": "", "verdict": "no-answer-yet",
                    "offset": null, "lo": null, "hi": null, "delay": null, "jitter": null,
                    "reach": 0, "poll": 6, "stratum": 0, "reference": "", "root_delay": 0.0,
                    "root_dispersion": 0.0, "auth": "none", "interleaved": false, "stamps": "user", "accepted": 0, "refused": 0}
            ],
            "uplink": "connected", "unsent_reports": 0
        }))
        .unwrap()
    }

    /// Proves that the table shows every source, aligned, with units and signs.
    #[test]
    fn the_table_is_aligned_and_has_units() {
        insta::assert_snapshot!(render(&view()));
    }

    /// Proves that a host without a window is told so plainly, in words and as null.
    #[test]
    fn no_window_is_said_in_words() {
        let mut view = view();
        (view.lo, view.hi, view.stat) = (None, None, None);
        view.sources.clear();
        let text = render(&view);
        assert!(text.starts_with("window       none: no source has given one\n"), "{text}");
        assert!(text.ends_with("no sources\n"), "{text}");
        assert!(serde_json::to_string(&view).unwrap().contains("\"lo\":null"));
    }
}
