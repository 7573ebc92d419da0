//! The newest state of the hosts, one row each.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use timebase::Bounds;

use super::state_row::{Contact, StateRow};
use super::watermark::Marks;
use super::{Batch, Fresh};
use crate::time;

/// The newest sample of each host that is of the boot which runs, in the order of hosts.
pub(super) fn newest<'a>(fresh: &'a [Fresh<'a>]) -> BTreeMap<i64, &'a Fresh<'a>> {
    let mut newest: BTreeMap<i64, &Fresh<'_>> = BTreeMap::new();
    for sample in fresh.iter().filter(|sample| sample.batch.current) {
        let place = |sample: &Fresh<'_>| (sample.boot_no, sample.seq());
        let known = newest.entry(sample.batch.host).or_insert(sample);
        if place(sample) > place(known) {
            *known = sample;
        }
    }
    newest
}

/// The last that was heard of each host whose running boot sent something.
pub(super) fn contacts(batches: &[Batch]) -> BTreeMap<i64, Contact<'_>> {
    let mut contacts: BTreeMap<i64, Contact<'_>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.current) {
        let before = contacts.get(&batch.host).and_then(|(_, witness)| *witness);
        contacts.insert(batch.host, (batch, batch.witness.or(before)));
    }
    contacts
}

/// The rows to be written.
pub(super) fn rows(
    newest: &BTreeMap<i64, &Fresh<'_>>,
    contacts: &BTreeMap<i64, Contact<'_>>,
    marks: &Marks,
) -> Vec<StateRow> {
    newest
        .iter()
        .map(|(host, sample)| StateRow::new(sample, &contacts[host], marks.of(sample.batch).before))
        .collect()
}

/// Moves hosts on from the watermarks that were expected, and so locks and writes them in one go. How many
/// were there to be moved.
pub(super) async fn advance(
    connection: &mut PgConnection,
    rows: &[StateRow],
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        "UPDATE store.host_state s SET
            ref_time = k.ref_time, received_at = greatest(s.received_at, k.received_at), seq = k.seq,
            host_ns = k.host_ns, raw_ns = k.raw_ns, lo_ns = k.lo_ns, hi_ns = k.hi_ns,
            offset_ns = k.offset_ns, sigma_ns = k.sigma_ns, sigma_k = k.sigma_k,
            estimate_samples = k.estimate_samples, frequency_ppb = k.frequency_ppb,
            frequency_sigma_ppb = k.frequency_sigma_ppb, drift_limit_ppb = k.drift_limit_ppb,
            kernel_max_error_ns = k.kernel_max_error_ns,
            kernel_estimated_error_ns = k.kernel_estimated_error_ns,
            kernel_frequency_ppb = k.kernel_frequency_ppb, kernel_status = k.kernel_status,
            kernel_synchronised = k.kernel_synchronised, tai_offset_s = k.tai_offset_s,
            steps = k.steps, state = k.state, leap = k.leap, discipliner = k.discipliner,
            rate_lo_ppb = k.rate_lo_ppb, rate_hi_ppb = k.rate_hi_ppb,
            drift_ceiling_ppb = k.drift_ceiling_ppb, smear = k.smear,
            leap_table_tai_s = k.leap_table_tai_s,
            witness_lo_ns = coalesce(k.witness_lo_ns, s.witness_lo_ns),
            witness_hi_ns = coalesce(k.witness_hi_ns, s.witness_hi_ns),
            witness_at = coalesce(k.witness_at, s.witness_at)
         FROM unnest($1::store.state_row[]) k
         WHERE s.host_id = k.host_id AND s.boot_no = k.boot_no AND s.seq = k.before",
        rows as &[StateRow]
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// Rewrites hosts that are locked. Those whose row was written: a report older than what is there changes
/// nothing.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    rows: &[StateRow],
) -> Result<BTreeSet<i64>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    sqlx::query_scalar!(
        r#"INSERT INTO store.host_state AS s
             (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, sigma_ns,
              sigma_k, estimate_samples, frequency_ppb, frequency_sigma_ppb, drift_limit_ppb,
              kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status,
              kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner,
              rate_lo_ppb, rate_hi_ppb, drift_ceiling_ppb, smear, leap_table_tai_s,
              witness_lo_ns, witness_hi_ns, witness_at)
           SELECT host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, sigma_ns,
              sigma_k, estimate_samples, frequency_ppb, frequency_sigma_ppb, drift_limit_ppb,
              kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status,
              kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner,
              rate_lo_ppb, rate_hi_ppb, drift_ceiling_ppb, smear, leap_table_tai_s,
              witness_lo_ns, witness_hi_ns, witness_at FROM unnest($1::store.state_row[])
           ON CONFLICT (host_id) DO UPDATE SET
              ref_time = excluded.ref_time,
              received_at = greatest(s.received_at, excluded.received_at), seq = excluded.seq,
              host_ns = excluded.host_ns, raw_ns = excluded.raw_ns, lo_ns = excluded.lo_ns,
              hi_ns = excluded.hi_ns, offset_ns = excluded.offset_ns, sigma_ns = excluded.sigma_ns,
              sigma_k = excluded.sigma_k, estimate_samples = excluded.estimate_samples,
              frequency_ppb = excluded.frequency_ppb,
              frequency_sigma_ppb = excluded.frequency_sigma_ppb,
              drift_limit_ppb = excluded.drift_limit_ppb,
              kernel_max_error_ns = excluded.kernel_max_error_ns,
              kernel_estimated_error_ns = excluded.kernel_estimated_error_ns,
              kernel_frequency_ppb = excluded.kernel_frequency_ppb,
              kernel_status = excluded.kernel_status,
              kernel_synchronised = excluded.kernel_synchronised,
              tai_offset_s = excluded.tai_offset_s, boot_no = excluded.boot_no,
              steps = excluded.steps, state = excluded.state, leap = excluded.leap,
              discipliner = excluded.discipliner, rate_lo_ppb = excluded.rate_lo_ppb,
              rate_hi_ppb = excluded.rate_hi_ppb, drift_ceiling_ppb = excluded.drift_ceiling_ppb,
              smear = excluded.smear, leap_table_tai_s = excluded.leap_table_tai_s,
              witness_lo_ns = coalesce(excluded.witness_lo_ns, s.witness_lo_ns),
              witness_hi_ns = coalesce(excluded.witness_hi_ns, s.witness_hi_ns),
              witness_at = coalesce(excluded.witness_at, s.witness_at)
           WHERE s.boot_no < excluded.boot_no
              OR s.boot_no = excluded.boot_no AND s.seq < excluded.seq
           RETURNING s.host_id"#,
        rows as &[StateRow]
    )
    .fetch_all(connection)
    .await
    .map(BTreeSet::from_iter)
}

/// That a batch came in, though with nothing new, and what its stamps witness.
pub(super) async fn touch(
    connection: &mut PgConnection,
    latest: &BTreeMap<i64, Contact<'_>>,
) -> Result<(), sqlx::Error> {
    if latest.is_empty() {
        return Ok(());
    }
    let hosts: Vec<i64> = latest.keys().copied().collect();
    let received: Vec<_> = latest.values().map(|(b, _)| time::to_sql(b.received_at)).collect();
    let bound = |f: fn(Bounds) -> timebase::Span| {
        latest.values().map(|(_, w)| w.map(|w| f(w).as_ns())).collect::<Vec<Option<i64>>>()
    };
    sqlx::query!(
        "UPDATE store.host_state s
         SET received_at = greatest(s.received_at, k.received_at),
             witness_lo_ns = coalesce(k.lo, s.witness_lo_ns),
             witness_hi_ns = coalesce(k.hi, s.witness_hi_ns),
             witness_at = CASE WHEN k.lo IS NULL THEN s.witness_at ELSE k.received_at END
         FROM unnest($1::int8[], $2::timestamptz[], $3::int8[], $4::int8[])
              AS k(host_id, received_at, lo, hi)
         WHERE s.host_id = k.host_id",
        &hosts,
        &received as _,
        &bound(Bounds::lo) as &[Option<i64>],
        &bound(Bounds::hi) as &[Option<i64>],
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The watermark of the newest boot is in its host's row, also where reports say nothing of how the host is:
/// those of a boot that has ended, and has no follower here yet.
pub(super) async fn follow(
    connection: &mut PgConnection,
    marks: &Marks,
    fresh: &[Fresh<'_>],
) -> Result<(), sqlx::Error> {
    let ended: BTreeMap<(i64, i32), &Fresh<'_>> = fresh
        .iter()
        .filter(|sample| !sample.batch.current)
        .map(|sample| ((sample.batch.host, sample.boot_no), sample))
        .collect();
    if ended.is_empty() {
        return Ok(());
    }
    let (hosts, boots): (Vec<i64>, Vec<i32>) = ended.keys().copied().unzip();
    let marks: Vec<_> = ended.values().map(|sample| marks.of(sample.batch)).collect();
    sqlx::query!(
        "UPDATE store.host_state s SET seq = k.seq, steps = coalesce(k.steps, s.steps)
         FROM unnest($1::int8[], $2::int4[], $3::int8[], $4::int4[]) AS k(host_id, boot_no, seq, steps)
         WHERE s.host_id = k.host_id AND s.boot_no = k.boot_no AND s.seq < k.seq",
        &hosts,
        &boots,
        &marks.iter().map(|mark| mark.last).collect::<Vec<i64>>(),
        &marks.iter().map(|mark| mark.steps).collect::<Vec<_>>() as &[Option<i32>],
    )
    .execute(connection)
    .await
    .map(drop)
}
