use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the notify role shows of itself.
#[derive(Clone, Debug)]
pub struct Metrics {
    attempts: Family<AttemptLabel, Counter>,
    pub(super) pending: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabel {
    endpoint: String,
    outcome: &'static str,
}

impl Metrics {
    /// Puts them on the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { attempts: Family::default(), pending: Gauge::default() };
        let m = metrics.clone();
        registry.register(
            "deliveries",
            "Attempts to deliver a message, by endpoint and by what followed",
            m.attempts,
        );
        registry.register("outbox_pending", "Messages waiting to be delivered", m.pending);
        metrics
    }

    pub(super) fn count(&self, endpoint: &str, outcome: &'static str) {
        let label = AttemptLabel { endpoint: endpoint.to_owned(), outcome };
        self.attempts.get_or_create(&label).inc();
    }
}
