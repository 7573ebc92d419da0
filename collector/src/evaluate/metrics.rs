use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use risk::{Alerts, Finding};
use timebase::Answer;

/// What the evaluate role shows of itself.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) seat: Gauge,
    pub(super) failures: Counter,
    seconds: Histogram,
    hosts: Family<AnswerLabel, Gauge>,
    findings: Family<AnswerLabel, Gauge>,
    open: Gauge,
    transitions: Counter<u64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    answer: &'static str,
}

impl Metrics {
    /// Puts them on the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let buckets = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
        let metrics = Self {
            seat: Gauge::default(),
            failures: Counter::default(),
            seconds: Histogram::new(buckets),
            hosts: Family::default(),
            findings: Family::default(),
            open: Gauge::default(),
            transitions: Counter::default(),
        };
        let m = metrics.clone();
        registry.register("evaluate_seat", "1 while this collector is the one that judges", m.seat);
        registry.register("evaluate_failures", "Evaluations lost to the database", m.failures);
        registry.register("evaluate_seconds", "Time of one evaluation, with its writes", m.seconds);
        registry.register("hosts", "Hosts by the drift rule's answer", m.hosts);
        registry.register("findings", "Listed findings by answer", m.findings);
        registry.register("alerts_open", "Alerts that are open", m.open);
        registry.register("alert_transitions", "Alerts opened, changed or resolved", m.transitions);
        metrics
    }

    pub(super) fn observe(
        &self,
        took: Duration,
        findings: &[Finding],
        alerts: &Alerts,
        transitions: usize,
    ) {
        self.seconds.observe(took.as_secs_f64());
        self.open.set(to_i64(alerts.open()));
        self.transitions.inc_by(transitions as u64);
        for answer in Answer::ALL {
            let label = AnswerLabel { answer: answer.word() };
            let of = |wanted: &dyn Fn(&Finding) -> bool| {
                to_i64(findings.iter().filter(|f| f.answer == answer && wanted(f)).count())
            };
            self.hosts.get_or_create(&label).set(of(&|f| f.rule == risk::drift::RULE));
            self.findings.get_or_create(&label).set(of(&|f| f.listed));
        }
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
