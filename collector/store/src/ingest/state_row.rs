use jiff_sqlx::Timestamp;
use timebase::{Bounds, Ppb, Span};

use super::{Batch, Fresh, numbers, samples};
use crate::time;

/// The last batch of a host and the last that its batches witness.
pub(super) type Contact<'a> = (&'a Batch, Option<Bounds>);

/// A row of `store.host_state`, and the watermark that it comes after.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "store.state_row")]
pub(super) struct StateRow {
    pub(super) host_id: i64,
    ref_time: Timestamp,
    received_at: Timestamp,
    seq: i64,
    host_ns: i64,
    raw_ns: i64,
    lo_ns: Option<i64>,
    hi_ns: Option<i64>,
    offset_ns: Option<i64>,
    sigma_ns: Option<i64>,
    sigma_k: Option<f64>,
    estimate_samples: Option<i32>,
    frequency_ppb: Option<i64>,
    frequency_sigma_ppb: Option<i64>,
    drift_limit_ppb: i64,
    kernel_max_error_ns: i64,
    kernel_estimated_error_ns: i64,
    kernel_frequency_ppb: i64,
    kernel_status: i64,
    kernel_synchronised: bool,
    tai_offset_s: i32,
    boot_no: i32,
    steps: i32,
    state: i16,
    leap: i16,
    discipliner: i16,
    rate_lo_ppb: i64,
    rate_hi_ppb: i64,
    drift_ceiling_ppb: i64,
    smear: String,
    leap_table_tai_s: Option<i32>,
    witness_lo_ns: Option<i64>,
    witness_hi_ns: Option<i64>,
    witness_at: Option<Timestamp>,
    before: i64,
}

impl StateRow {
    /// Of the newest sample of a host.
    pub(super) fn new(sample: &Fresh<'_>, (contact, witness): &Contact<'_>, before: i64) -> Self {
        let report = &sample.dated.report;
        let statistical = report.statistical;
        let received_at = time::to_sql(contact.received_at);
        Self {
            host_id: sample.batch.host,
            ref_time: time::to_sql(sample.dated.ref_time),
            received_at,
            seq: sample.seq(),
            host_ns: report.realtime.as_ns(),
            raw_ns: report.raw.as_ns(),
            lo_ns: report.bounds.map(|bounds| bounds.lo().as_ns()),
            hi_ns: report.bounds.map(|bounds| bounds.hi().as_ns()),
            offset_ns: samples::offset(report).map(Span::as_ns),
            sigma_ns: statistical.map(|window| window.sigma.as_ns()),
            sigma_k: statistical.map(|window| window.k),
            estimate_samples: statistical
                .map(|window| i32::try_from(window.samples).unwrap_or(i32::MAX)),
            frequency_ppb: report.frequency.map(Ppb::as_ppb),
            frequency_sigma_ppb: report.frequency_sigma.map(Ppb::as_ppb),
            drift_limit_ppb: report.drift_limit.as_ppb(),
            kernel_max_error_ns: report.kernel.max_error.as_ns(),
            kernel_estimated_error_ns: report.kernel.estimated_error.as_ns(),
            kernel_frequency_ppb: report.kernel.frequency.as_ppb(),
            kernel_status: report.kernel.status.into(),
            kernel_synchronised: report.kernel.synchronised,
            tai_offset_s: report.kernel.tai_offset_s,
            boot_no: sample.boot_no,
            steps: samples::steps(report),
            state: numbers::state_number(report.state),
            leap: numbers::leap_number(report.leap),
            discipliner: numbers::discipliner_number(report.discipliner),
            rate_lo_ppb: report.rate.lo().as_ppb(),
            rate_hi_ppb: report.rate.hi().as_ppb(),
            drift_ceiling_ppb: report.drift_ceiling.as_ppb(),
            smear: report.smear.word().to_owned(),
            leap_table_tai_s: report.tai_offset_s,
            witness_lo_ns: witness.map(|bounds| bounds.lo().as_ns()),
            witness_hi_ns: witness.map(|bounds| bounds.hi().as_ns()),
            witness_at: witness.map(|_| received_at),
            before,
        }
    }
}
