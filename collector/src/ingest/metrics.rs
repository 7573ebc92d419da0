use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Reason;

/// What the ingest role shows of itself.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) sessions: Gauge,
    pub(super) batches: Counter,
    pub(super) stored: Counter,
    pub(super) duplicates: Counter,
    pub(super) enrolled: Counter,
    pub(super) unauthenticated: Counter,
    pub(super) sent_away: Counter,
    pub(super) queued_bytes: Gauge,
    pub(super) write_failures: Counter,
    pub(super) write_seconds: Histogram,
    pub(super) write_reports: Histogram,
    refused: Family<ReasonLabel, Counter<u64, AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Metrics {
    /// Puts them on the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
        let reports = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4];
        let metrics = Self {
            sessions: Gauge::default(),
            batches: Counter::default(),
            stored: Counter::default(),
            duplicates: Counter::default(),
            enrolled: Counter::default(),
            unauthenticated: Counter::default(),
            sent_away: Counter::default(),
            queued_bytes: Gauge::default(),
            write_failures: Counter::default(),
            write_seconds: Histogram::new(seconds),
            write_reports: Histogram::new(reports),
            refused: Family::default(),
        };
        // From zero on, so that the first refusal shows as a rise.
        for reason in Reason::ALL {
            metrics.refused(reason);
        }
        let r = registry.sub_registry_with_prefix("ingest");
        r.register("sessions", "Sessions of agents open now", metrics.sessions.clone());
        r.register("batches", "Batches received", metrics.batches.clone());
        r.register("reports_stored", "Reports committed", metrics.stored.clone());
        let help = "Reports sent again after they had been committed";
        r.register("reports_duplicate", help, metrics.duplicates.clone());
        r.register("refusals", "Refusals, by reason", metrics.refused.clone());
        r.register("hosts_enrolled", "Hosts enrolled", metrics.enrolled.clone());
        let help = "Calls without a valid token or credential";
        r.register("unauthenticated", help, metrics.unauthenticated.clone());
        let help = "Calls told to come back later, as too many came at once";
        r.register("calls_sent_away", help, metrics.sent_away.clone());
        let help = "Size of the batches that wait for the writers";
        r.register("queued_bytes", help, metrics.queued_bytes.clone());
        r.register("write_failures", "Transactions tried again", metrics.write_failures.clone());
        let help = "Seconds from the start of a transaction to its commit";
        r.register("write_seconds", help, metrics.write_seconds.clone());
        r.register("write_reports", "Reports in one transaction", metrics.write_reports.clone());
        metrics
    }

    /// The counter of one reason.
    pub(super) fn refused(&self, reason: Reason) -> Counter<u64, AtomicU64> {
        self.refused.get_or_create(&ReasonLabel { reason: reason.word() }).clone()
    }
}
