use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the uplink counts. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct UplinkMetrics {
    /// 1 while a session with the collector is open.
    pub connected: Gauge,
    /// Sessions opened.
    pub sessions: Counter,
    /// Sessions or connection attempts that failed.
    pub failures: Counter,
    /// Batches sent.
    pub batches: Counter,
    /// Reports the collector acknowledged.
    pub acknowledged: Counter,
    /// Batches the collector refused.
    pub refused_batches: Counter,
    /// Reports lost because the collector can never store them.
    pub refused_reports: Counter,
}

impl UplinkMetrics {
    /// Makes the counters visible.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("uplink");
        registry.register(
            "connected",
            "1 while a session with the collector is open",
            self.connected.clone(),
        );
        registry.register("sessions", "sessions opened", self.sessions.clone());
        registry.register("failures", "failed sessions or attempts", self.failures.clone());
        registry.register("batches", "batches sent", self.batches.clone());
        registry.register(
            "acknowledged_reports",
            "reports the collector acknowledged",
            self.acknowledged.clone(),
        );
        registry.register(
            "refused_batches",
            "batches the collector refused",
            self.refused_batches.clone(),
        );
        registry.register(
            "refused_reports",
            "reports the collector can never store",
            self.refused_reports.clone(),
        );
    }
}
