use std::collections::BTreeMap;

use sqlx::PgConnection;
use timebase::{Bounds, Ppb, Report, Span, Timestamp, Utc};

use crate::copy::{self, HEADER, POSTGRES_EPOCH_US, TRAILER, int2, int4, int8};
use crate::tiers::{HOUR, Marks, floor};
use crate::time;

use super::{Fresh, numbers};

/// The columns in the order of [`row`].
const COLUMNS: &str = "host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, \
                       offset_ns, sigma_ns, frequency_ppb, boot_no, steps, state, sources_used, stray_ns, \
                       rate_margin_ppb";
const FIELDS: i16 = 16;
/// A row with every column set.
const ROW_BYTES: usize = 176;

/// Appends the samples: those of hours that are sealed to a table of their own, where they wait to be
/// repacked, and a note that rollups lack what is older than these reach.
pub(super) async fn store(
    connection: &mut PgConnection,
    fresh: &[Fresh<'_>],
) -> Result<(), sqlx::Error> {
    if fresh.is_empty() {
        return Ok(());
    }
    let marks = Marks::for_writing(&mut *connection).await?;
    let (late, timely): (Vec<&Fresh<'_>>, Vec<_>) =
        fresh.iter().partition(|f| f.dated.ref_time < marks.sealed_until);
    copy(connection, "sample", &timely).await?;
    copy(connection, "sample_late", &late).await?;
    let rolled_up = marks.sealed_until.max(marks.minutes_sealed);
    let mut dirty = BTreeMap::new();
    for f in fresh.iter().filter(|f| f.dated.ref_time < rolled_up) {
        let at = f.dated.ref_time;
        let (first, last) = dirty.entry((f.batch.host, floor(at, HOUR))).or_insert((at, at));
        (*first, *last) = ((*first).min(at), (*last).max(at));
    }
    if dirty.is_empty() {
        return Ok(());
    }
    let hosts: Vec<i64> = dirty.keys().map(|(host, _)| *host).collect();
    let hours: Vec<_> = dirty.keys().map(|(_, hour)| time::to_sql(*hour)).collect();
    let (firsts, lasts): (Vec<_>, Vec<_>) =
        dirty.values().map(|(first, last)| (time::to_sql(*first), time::to_sql(*last))).unzip();
    sqlx::query!(
        "INSERT INTO store.rollup_dirty (host_id, hour, first_at, last_at)
         SELECT * FROM unnest($1::int8[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[])",
        &hosts,
        &hours as _,
        &firsts as _,
        &lasts as _
    )
    .execute(connection)
    .await
    .map(drop)
}

/// COPY costs a third of what INSERT does.
async fn copy(
    connection: &mut PgConnection,
    table: &str,
    fresh: &[&Fresh<'_>],
) -> Result<(), sqlx::Error> {
    if fresh.is_empty() {
        return Ok(());
    }
    let mut data = Vec::with_capacity(HEADER.len() + fresh.len() * ROW_BYTES + TRAILER.len());
    data.extend_from_slice(HEADER);
    for sample in fresh {
        row(&mut data, sample);
    }
    data.extend_from_slice(&TRAILER);
    let command = format!("COPY store.{table} ({COLUMNS}) FROM STDIN (FORMAT binary)");
    let mut copy = connection.copy_in_raw(&command).await?;
    match copy.send(data).await {
        Ok(_) => copy.finish().await.map(drop),
        Err(error) => {
            // Without it the connection would be unusable; the first error is the one that tells.
            let _ = copy.abort("sending failed").await;
            Err(error)
        }
    }
}

fn row(data: &mut Vec<u8>, sample: &Fresh<'_>) {
    let report = &sample.dated.report;
    data.extend_from_slice(&FIELDS.to_be_bytes());
    int8(data, sample.batch.host);
    int8(data, micros(sample.dated.ref_time));
    int8(data, sample.seq());
    int8(data, report.realtime.as_ns());
    int8(data, report.raw.as_ns());
    optional(data, report.bounds.map(|b| b.lo().as_ns()));
    optional(data, report.bounds.map(|b| b.hi().as_ns()));
    optional(data, offset(report).map(Span::as_ns));
    optional(data, report.statistical.map(|s| s.sigma.as_ns()));
    optional(data, report.frequency.map(Ppb::as_ppb));
    int4(data, sample.boot_no);
    int4(data, steps(report));
    int2(data, numbers::state_number(report.state));
    int2(data, i16::try_from(sample.dated.sources_used).unwrap_or(i16::MAX));
    // What does not fit is worth no more than what is not known.
    optional_int4(data, report.stray.map(Span::as_ns));
    optional_int4(data, Some(rate_margin(report)));
}

/// The point estimate; the middle of the bounds where there is no other.
pub(super) fn offset(report: &Report) -> Option<Span> {
    report.statistical.map(|s| s.offset).or_else(|| report.bounds.map(Bounds::midpoint))
}

/// As the column holds it.
pub(super) fn steps(report: &Report) -> i32 {
    i32::try_from(report.steps).unwrap_or(i32::MAX)
}

/// How far the rate of the raw oscillator may be from `frequency_ppb`.
fn rate_margin(report: &Report) -> i64 {
    let around = report.frequency.map_or(0, Ppb::as_ppb);
    let (lo, hi) = (report.rate.lo().as_ppb(), report.rate.hi().as_ppb());
    hi.saturating_sub(around).max(around.saturating_sub(lo)).max(0)
}

fn micros(at: Timestamp<Utc>) -> i64 {
    at.as_ns().div_euclid(1_000) - POSTGRES_EPOCH_US
}

fn optional(data: &mut Vec<u8>, value: Option<i64>) {
    copy::optional(data, value.map(i64::to_be_bytes));
}

fn optional_int4(data: &mut Vec<u8>, value: Option<i64>) {
    copy::optional(data, value.and_then(|value| i32::try_from(value).ok()).map(i32::to_be_bytes));
}
