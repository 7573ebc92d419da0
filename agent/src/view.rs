//! What the agent knows, as one JSON object: for `--json`, the status socket, and `status`.
//!
//! Times are seconds as people compute with them; the exact nanoseconds are in reports.

use agent_core::Steering;
use serde::{Deserialize, Serialize};
use timebase::{Bounds, KernelClock, Report, SourceReport, Span, reference_id_text};

/// One moment. `offset`, `lo` and `hi` are the system clock's error in seconds, positive when it is
/// ahead of UTC; null without a window.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[expect(
    missing_docs,
    reason = "the names are those of a report; units are in the type's sentence"
)]
pub struct View {
    /// CLOCK_REALTIME, seconds since 1970.
    pub t: f64,
    pub offset: Option<f64>,
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    pub state: String,
    pub stat: Option<StatisticalView>,
    pub frequency_ppm: Option<f64>,
    pub frequency_sigma_ppm: Option<f64>,
    pub drift_limit_ppm: f64,
    pub steps: u32,
    /// How the sources of the window treat the leap second near by.
    #[serde(default)]
    pub smear: String,
    /// TAI − UTC by the table of leap seconds.
    #[serde(default)]
    pub tai_offset: Option<i32>,
    pub discipliner: String,
    pub discipline: DisciplineView,
    pub kernel: KernelView,
    pub sources: Vec<SourceView>,
    /// The session with the collector; absent when none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// Reports that wait to be acknowledged; absent without a spool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsent_reports: Option<i64>,
}

/// The estimate: never a bound.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names are those of a report")]
pub struct StatisticalView {
    pub offset: f64,
    pub sigma: f64,
    pub k: f64,
    pub samples: u32,
}

/// How steering the clock stands.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct DisciplineView {
    /// `off`, `waiting`, `active`, `holding`, `refused` or `panic`.
    pub state: String,
    /// The same in words, with the reason.
    pub text: String,
}

impl DisciplineView {
    /// The view of a state.
    pub fn of(state: Steering) -> Self {
        Self { state: state.word().to_owned(), text: state.to_string() }
    }
}

/// The kernel's own view.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names are those of a report")]
pub struct KernelView {
    pub synchronised: bool,
    pub max_error: f64,
    pub estimated_error: f64,
    pub frequency_ppm: f64,
    pub tai_offset: i32,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names are those of a report")]
pub struct SourceView {
    pub name: String,
    /// `ntp`, `sock`, `shm`, `pps` or `phc`.
    #[serde(default)]
    pub kind: String,
    pub address: String,
    pub verdict: String,
    pub offset: Option<f64>,
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    pub delay: Option<f64>,
    pub jitter: Option<f64>,
    pub reach: u8,
    pub poll: i8,
    pub stratum: u8,
    pub reference: String,
    pub root_delay: f64,
    pub root_dispersion: f64,
    /// `none`, `mac` or `nts`.
    pub auth: String,
    pub interleaved: bool,
    /// `user`, `kernel` or `hardware`.
    pub stamps: String,
    pub accepted: u64,
    pub refused: u64,
    /// How it treats leap seconds: `none`, `quadratic`, `linear` or `linear-24h`.
    #[serde(default)]
    pub smear: String,
}

impl View {
    /// The view of a report; nothing about collector and spool.
    pub fn of(report: &Report) -> Self {
        let best = report.statistical.map(|s| s.offset).or(report.bounds.map(Bounds::midpoint));
        // The estimate may lie outside of the bounds; the truth does not.
        let offset = best.map(|offset| report.bounds.map_or(offset, |b| b.clamp(offset)));
        Self {
            t: report.realtime.as_ns() as f64 / 1e9,
            offset: report.bounds.and(offset).map(Span::as_secs_f64),
            lo: report.bounds.map(|b| b.lo().as_secs_f64()),
            hi: report.bounds.map(|b| b.hi().as_secs_f64()),
            state: report.state.word().to_owned(),
            stat: report.statistical.map(|s| StatisticalView {
                offset: s.offset.as_secs_f64(),
                sigma: s.sigma.as_secs_f64(),
                k: s.k,
                samples: s.samples,
            }),
            frequency_ppm: report.frequency.map(ppm),
            frequency_sigma_ppm: report.frequency_sigma.map(ppm),
            drift_limit_ppm: ppm(report.drift_limit),
            steps: report.steps,
            smear: report.smear.word().to_owned(),
            tai_offset: report.tai_offset_s,
            discipliner: report.discipliner.word().to_owned(),
            discipline: DisciplineView::of(Steering::Off),
            kernel: KernelView::of(&report.kernel),
            sources: report.sources.iter().map(SourceView::of).collect(),
            uplink: None,
            unsent_reports: None,
        }
    }
}

impl KernelView {
    fn of(kernel: &KernelClock) -> Self {
        Self {
            synchronised: kernel.synchronised,
            max_error: kernel.max_error.as_secs_f64(),
            estimated_error: kernel.estimated_error.as_secs_f64(),
            frequency_ppm: ppm(kernel.frequency),
            tai_offset: kernel.tai_offset_s,
        }
    }
}

impl SourceView {
    fn of(source: &SourceReport) -> Self {
        let stamps = match source.stamps {
            timebase::StampKind::User => "user",
            timebase::StampKind::Kernel => "kernel",
            timebase::StampKind::Hardware => "hardware",
        };
        Self {
            name: source.name.clone(),
            kind: source.kind.word().to_owned(),
            address: source.address.clone(),
            verdict: source.verdict.word().to_owned(),
            offset: source.offset.map(Span::as_secs_f64),
            lo: source.bounds.map(|b| b.lo().as_secs_f64()),
            hi: source.bounds.map(|b| b.hi().as_secs_f64()),
            delay: source.delay.map(Span::as_secs_f64),
            jitter: source.jitter.map(Span::as_secs_f64),
            reach: source.reach,
            poll: source.poll_log2,
            stratum: source.stratum,
            reference: reference_id_text(source.stratum, source.reference_id),
            root_delay: source.root_delay.as_secs_f64(),
            root_dispersion: source.root_dispersion.as_secs_f64(),
            auth: source.authentication.word().to_owned(),
            interleaved: source.interleaved,
            stamps: stamps.to_owned(),
            accepted: source.accepted,
            refused: source.refused,
            smear: source.smear.word().to_owned(),
        }
    }
}

fn ppm(rate: timebase::Ppb) -> f64 {
    rate.as_ppb() as f64 / 1000.0
}
