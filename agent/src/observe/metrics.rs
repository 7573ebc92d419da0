use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::{Refused, Steering};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use timebase::{Bounds, Report, Span, SyncState, Verdict};

use crate::local::Knowledge;
use crate::spool::SpoolMetrics;
use crate::steer::SteerMetrics;
use crate::timekeeper::TimeMetrics;
use crate::uplink::UplinkMetrics;

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabels {
    source: String,
    address: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabels {
    source: String,
    address: String,
    verdict: &'static str,
}

/// Refused answers, by reason.
#[derive(Clone, Debug)]
pub struct Refusals(Family<Reason, Counter>);

/// Every reason there is, so that each is shown before it first occurs.
const REFUSALS: [Refused; 18] = [
    Refused::UnknownSource,
    Refused::TooShort,
    Refused::Version,
    Refused::Mode,
    Refused::Unexpected,
    Refused::Origin,
    Refused::Extension,
    Refused::Authentication,
    Refused::KeyId,
    Refused::CryptoNak,
    Refused::UniqueId,
    Refused::Unsynchronised,
    Refused::Stratum,
    Refused::ZeroStamp,
    Refused::Backwards,
    Refused::Unnumbered,
    Refused::RootDistance,
    Refused::Causality,
];
/// Kiss codes are chosen by the network: they count as one reason.
const KISS: &str = "kiss-o'-death";

impl Default for Refusals {
    fn default() -> Self {
        let reasons = REFUSALS.map(|refused| refused.to_string());
        let family = Family::default();
        for reason in reasons.into_iter().chain([KISS.to_owned()]) {
            drop(family.get_or_create(&Reason { reason }));
        }
        Self(family)
    }
}

impl Refusals {
    /// Counts one.
    pub fn count(&self, refused: Refused) {
        let reason = match refused {
            Refused::Kiss(_) => KISS.to_owned(),
            other => other.to_string(),
        };
        self.0.get_or_create(&Reason { reason }).inc();
    }
}

/// Everything that `/metrics` shows. Cheap to clone.
#[derive(Clone)]
pub struct Exposition {
    knowledge: Knowledge,
    registry: Arc<Registry>,
    gauges: Arc<Mutex<Gauges>>,
}

/// What is taken from the latest snapshot when asked.
#[derive(Default)]
struct Gauges {
    lo: Seconds,
    hi: Seconds,
    offset: Seconds,
    window_known: Gauge,
    frequency: Seconds,
    state: Family<StateLabel, Gauge>,
    discipline: Family<StateLabel, Gauge>,
    kernel_synchronised: Gauge,
    kernel_frequency: Seconds,
    kernel_max_error: Seconds,
    source_offset: Family<SourceLabels, Seconds>,
    source_delay: Family<SourceLabels, Seconds>,
    source_verdict: Family<VerdictLabels, Gauge>,
}

impl Exposition {
    /// Registers everything once.
    pub fn new(
        knowledge: Knowledge,
        time: &TimeMetrics,
        steer: &SteerMetrics,
        spool: Option<&SpoolMetrics>,
        uplink: Option<&UplinkMetrics>,
    ) -> Self {
        let mut registry = Registry::with_prefix("truechimer_agent");
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "the running agent", version);
        let gauges = Gauges::default();
        gauges.register(&mut registry);
        registry.register("requests", "requests sent to sources", time.sent.clone());
        registry.register("answers", "datagrams received from sources", time.received.clone());
        registry.register(
            "send_failures",
            "requests that could not be sent",
            time.send_failures.clone(),
        );
        registry.register(
            "refclock_refused",
            "samples of reference clocks that make no sense",
            time.refclock_refused.clone(),
        );
        registry.register("refused", "answers refused, by reason", time.refused.0.clone());
        registry.register("steps", "steps of the system clock", time.steps.clone());
        registry.register("suspends", "times the host was suspended", time.suspends.clone());
        registry.register(
            "corrections",
            "frequencies the agent gave the system clock",
            steer.corrections.clone(),
        );
        registry.register(
            "own_steps",
            "steps the agent made of the system clock",
            steer.steps.clone(),
        );
        if let Some(spool) = spool {
            spool.register(&mut registry);
        }
        if let Some(uplink) = uplink {
            uplink.register(&mut registry);
        }
        let gauges = Arc::new(Mutex::new(gauges));
        Self { knowledge, registry: Arc::new(registry), gauges }
    }

    pub(super) fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// The exposition in OpenMetrics text.
    pub fn text(&self) -> String {
        // Held while encoding, so that two readers do not see each other's half-filled gauges.
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = self.knowledge.report() {
            gauges.fill(&report, *self.knowledge.steering.borrow());
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "window_lo_seconds",
            "least possible error of the system clock, positive ahead; NaN without a window",
            self.lo.clone(),
        );
        registry.register(
            "window_hi_seconds",
            "greatest possible error of the system clock; NaN without a window",
            self.hi.clone(),
        );
        registry.register(
            "offset_seconds",
            "estimated error of the system clock; NaN without an estimate",
            self.offset.clone(),
        );
        registry.register("window_known", "1 with a window", self.window_known.clone());
        registry.register(
            "frequency_ppm",
            "rate error of the free-running oscillator",
            self.frequency.clone(),
        );
        registry.register("state", "1 for the present state", self.state.clone());
        registry.register(
            "discipline",
            "1 for how steering the clock stands now",
            self.discipline.clone(),
        );
        registry.register(
            "kernel_frequency_ppm",
            "rate correction applied to the system clock",
            self.kernel_frequency.clone(),
        );
        registry.register(
            "kernel_synchronised",
            "1 if the kernel says so",
            self.kernel_synchronised.clone(),
        );
        registry.register(
            "kernel_max_error_seconds",
            "the kernel's own bound",
            self.kernel_max_error.clone(),
        );
        registry.register(
            "source_offset_seconds",
            "error of the system clock by this source",
            self.source_offset.clone(),
        );
        registry.register(
            "source_delay_seconds",
            "network delay to this source and back",
            self.source_delay.clone(),
        );
        registry.register(
            "source_verdict",
            "1 for the present verdict on this source",
            self.source_verdict.clone(),
        );
    }

    fn fill(&self, report: &Report, steering: Steering) {
        let or_nan = |span: Option<Span>| span.map_or(f64::NAN, Span::as_secs_f64);
        self.lo.set(or_nan(report.bounds.map(Bounds::lo)));
        self.hi.set(or_nan(report.bounds.map(Bounds::hi)));
        self.offset.set(or_nan(report.statistical.map(|s| s.offset)));
        self.window_known.set(report.bounds.is_some().into());
        self.frequency.set(report.frequency.map_or(f64::NAN, |rate| rate.as_ppb() as f64 / 1000.0));
        for state in SyncState::ALL {
            let label = StateLabel { state: state.word() };
            self.state.get_or_create(&label).set((state == report.state).into());
        }
        for word in Steering::WORDS {
            let now = word == steering.word();
            self.discipline.get_or_create(&StateLabel { state: word }).set(now.into());
        }
        self.kernel_frequency.set(report.kernel.frequency.as_ppb() as f64 / 1000.0);
        self.kernel_synchronised.set(report.kernel.synchronised.into());
        self.kernel_max_error.set(report.kernel.max_error.as_secs_f64());
        // Sources change their addresses; the old ones must not stay behind.
        self.source_offset.clear();
        self.source_delay.clear();
        self.source_verdict.clear();
        for source in &report.sources {
            let (name, address) = (source.name.clone(), source.address.clone());
            for verdict in Verdict::all() {
                let labels = VerdictLabels {
                    source: name.clone(),
                    address: address.clone(),
                    verdict: verdict.word(),
                };
                let now = verdict == source.verdict;
                self.source_verdict.get_or_create(&labels).set(now.into());
            }
            let labels = SourceLabels { source: name, address };
            if let Some(offset) = source.offset {
                self.source_offset.get_or_create(&labels).set(offset.as_secs_f64());
            }
            if let Some(delay) = source.delay {
                self.source_delay.get_or_create(&labels).set(delay.as_secs_f64());
            }
        }
    }
}
