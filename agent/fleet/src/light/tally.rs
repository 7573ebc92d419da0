//! What is counted, and how it is told: as text for people, as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::Histogram;

/// Counts of the whole fleet since the warm-up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Reports that were sent for the first time.
    pub(crate) sent: u64,
    /// Reports that were sent once more: after a lost session, put off, or as duplicates.
    pub(crate) resent: u64,
    /// Reports that the collector says it has.
    pub(crate) acknowledged: u64,
    /// Of these, those that only the Welcome of a later session told of.
    pub(crate) acknowledged_late: u64,
    /// Reports that can never be stored, by the collector's word.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Batches that were to be sent again later, by the collector's word.
    pub(crate) put_off: BTreeMap<String, u64>,
    /// Reports of hosts that do not read what they are answered.
    pub(crate) unread: u64,
    /// Sessions that were opened.
    pub(crate) opened: u64,
    /// Sessions that ended, by the reason.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Sessions that did not come about, by the reason.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Times that the collector said how long to stay away.
    pub(crate) guided: u64,
    /// From sending a batch to its answer.
    pub(crate) latency: Histogram,
    /// From the end of a session to the Welcome of the next.
    pub(crate) reconnect: Histogram,
}

/// A tally with what it is measured by.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) tally: &'a Tally,
    pub(crate) elapsed: Duration,
    /// Of this process, user and system.
    pub(crate) cpu: Duration,
    pub(crate) open_sessions: u64,
    pub(crate) hosts: usize,
    /// Reports that were sent and neither acknowledged nor refused; known at the end only.
    pub(crate) never_acknowledged: Option<u64>,
}

/// Adds to the count of a word.
pub(crate) fn count(counts: &mut BTreeMap<String, u64>, word: &str, n: u64) {
    match counts.get_mut(word) {
        Some(count) => *count += n,
        None => {
            counts.insert(word.to_owned(), n);
        }
    }
}

impl Report<'_> {
    fn per_second(&self, n: u64) -> f64 {
        n as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn cpu_us_per_report(&self) -> Option<f64> {
        let answered = self.tally.acknowledged + self.tally.refused.values().sum::<u64>();
        (answered > 0).then(|| self.cpu.as_secs_f64() * 1e6 / answered as f64)
    }

    fn cpu_percent(&self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let tally = self.tally;
        let mut text = format!(
            "{:.0} s: {} reports sent, {} acknowledged ({:.0}/s), {} sent again",
            self.elapsed.as_secs_f64(),
            tally.sent,
            tally.acknowledged,
            self.per_second(tally.acknowledged),
            tally.resent,
        );
        if let Some(lost) = self.never_acknowledged {
            let _ = write!(text, ", {lost} never acknowledged");
        }
        let mut line = |name: &str, what: String| {
            let _ = write!(text, "\n  {name:<10} {what}");
        };
        line("answer", times(&tally.latency));
        line("sessions", format!("{} of {} hosts", self.open_sessions, self.hosts));
        if tally.reconnect.total() > 0 {
            line(
                "reconnect",
                format!("{} times, {}", tally.reconnect.total(), times(&tally.reconnect)),
            );
        }
        for (name, counts) in [
            ("refused", &tally.refused),
            ("put off", &tally.put_off),
            ("ended", &tally.ended),
            ("not opened", &tally.failed),
        ] {
            if !counts.is_empty() {
                line(name, words(counts));
            }
        }
        if tally.unread > 0 {
            line("unread", format!("{} reports by hosts that do not read answers", tally.unread));
        }
        if let Some(us) = self.cpu_us_per_report() {
            line(
                "own cpu",
                format!("{us:.1} us per report, {:.0} % of a core", self.cpu_percent()),
            );
        }
        text
    }

    /// For programs: one line.
    pub(crate) fn json(&self) -> Value {
        let tally = self.tally;
        let times = |histogram: &Histogram| {
            json!({
                "count": histogram.total(),
                "p50_ms": histogram.quantile_ms(0.5),
                "p99_ms": histogram.quantile_ms(0.99),
                "max_ms": histogram.most_ms(),
            })
        };
        json!({
            "event": if self.never_acknowledged.is_some() { "final" } else { "progress" },
            "elapsed_s": self.elapsed.as_secs_f64(),
            "hosts": self.hosts,
            "open_sessions": self.open_sessions,
            "sent": tally.sent,
            "acknowledged": tally.acknowledged,
            "acknowledged_late": tally.acknowledged_late,
            "resent": tally.resent,
            "never_acknowledged": self.never_acknowledged,
            "unread": tally.unread,
            "refused": tally.refused,
            "put_off": tally.put_off,
            "sessions_opened": tally.opened,
            "sessions_ended": tally.ended,
            "sessions_failed": tally.failed,
            "guided": tally.guided,
            "answer": times(&tally.latency),
            "reconnect": times(&tally.reconnect),
            "cpu_s": self.cpu.as_secs_f64(),
            "cpu_us_per_report": self.cpu_us_per_report(),
        })
    }
}

fn times(histogram: &Histogram) -> String {
    format!(
        "p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        histogram.quantile_ms(0.5),
        histogram.quantile_ms(0.99),
        histogram.most_ms()
    )
}

fn words(counts: &BTreeMap<String, u64>) -> String {
    let words: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that text and JSON tell the same counts, each reason of a refusal among them.
    #[test]
    fn both_reports_tell_what_was_counted() {
        let mut tally = Tally { sent: 120, acknowledged: 100, resent: 7, ..Tally::default() };
        count(&mut tally.refused, "malformed", 12);
        count(&mut tally.refused, "malformed", 3);
        count(&mut tally.refused, "from-the-future", 1);
        tally.latency.add(Duration::from_millis(20));
        let report = Report {
            tally: &tally,
            elapsed: Duration::from_secs(10),
            cpu: Duration::from_millis(116),
            open_sessions: 3,
            hosts: 4,
            never_acknowledged: Some(4),
        };
        let text = report.text();
        for part in [
            "120 reports sent",
            "100 acknowledged (10/s)",
            "7 sent again",
            "4 never",
            "1 from-the-future, 15 malformed",
            "3 of 4 hosts",
            "1000.0 us per report",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let json = report.json();
        assert_eq!(json["refused"]["malformed"], 15);
        assert_eq!(json["never_acknowledged"], 4);
        assert_eq!(json["answer"]["p99_ms"], 20.0);
    }
}
