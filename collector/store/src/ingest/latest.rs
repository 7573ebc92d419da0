use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use timebase::{Bounds, Ppb, Span};

use super::memory::{Memory, Remembered};
use super::watermark::Marks;
use super::{Batch, Fresh, numbers, samples, sources};
use crate::time;

/// The last batch of a host and the last that its batches witness.
type Contact<'a> = (&'a Batch, Option<Bounds>);

/// Rewrites the newest state of the hosts: one row each, and one for each of their sources that changed.
/// What is to be remembered of the hosts once that is committed; `None`: nothing, for another collector
/// knows more of it.
pub(super) async fn write(
    connection: &mut PgConnection,
    memory: &Memory,
    marks: &Marks,
    batches: &[Batch],
    fresh: &[Fresh<'_>],
) -> Result<Vec<(i64, Option<Remembered>)>, sqlx::Error> {
    // In the order of hosts; `fresh` is sorted by time within each.
    let newest: BTreeMap<i64, &Fresh<'_>> =
        fresh.iter().filter(|f| f.batch.current).map(|f| (f.batch.host, f)).collect();
    let mut contacts = contacts(batches);
    let updated = upsert_states(connection, &newest, &contacts).await?;
    contacts.retain(|host, _| !updated.contains(host));
    touch(connection, &contacts).await?;
    let (written, outdated): (Vec<_>, Vec<_>) =
        newest.into_iter().partition(|(host, _)| updated.contains(host));
    let remembered = sources::write(connection, memory, marks, &written).await?;
    let forgotten = outdated.into_iter().map(|(host, _)| (host, None));
    Ok(remembered
        .into_iter()
        .map(|(host, sources)| (host, Some(sources)))
        .chain(forgotten)
        .collect())
}

fn contacts(batches: &[Batch]) -> BTreeMap<i64, Contact<'_>> {
    let mut contacts: BTreeMap<i64, Contact<'_>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.current) {
        let before = contacts.get(&batch.host).and_then(|(_, witness)| *witness);
        contacts.insert(batch.host, (batch, batch.witness.or(before)));
    }
    contacts
}

/// The hosts whose row was written: a report older than what is there changes nothing.
async fn upsert_states(
    connection: &mut PgConnection,
    newest: &BTreeMap<i64, &Fresh<'_>>,
    contacts: &BTreeMap<i64, Contact<'_>>,
) -> Result<BTreeSet<i64>, sqlx::Error> {
    if newest.is_empty() {
        return Ok(BTreeSet::new());
    }
    let contacts: Vec<&Contact<'_>> = newest.keys().map(|host| &contacts[host]).collect();
    let witness = |f: fn(Bounds) -> Span| {
        contacts.iter().map(|(_, w)| w.map(|w| f(w).as_ns())).collect::<Vec<Option<i64>>>()
    };
    let witness_at: Vec<_> =
        contacts.iter().map(|(b, w)| w.map(|_| time::to_sql(b.received_at))).collect();
    let column = |f: fn(&Fresh<'_>) -> i64| newest.values().map(|s| f(s)).collect::<Vec<i64>>();
    let option = |f: fn(&Fresh<'_>) -> Option<i64>| {
        newest.values().map(|s| f(s)).collect::<Vec<Option<i64>>>()
    };
    let small = |f: fn(&Fresh<'_>) -> i16| newest.values().map(|s| f(s)).collect::<Vec<i16>>();
    let middle = |f: fn(&Fresh<'_>) -> i32| newest.values().map(|s| f(s)).collect::<Vec<i32>>();
    let ref_time: Vec<_> = newest.values().map(|s| time::to_sql(s.dated.ref_time)).collect();
    let received: Vec<_> = contacts.iter().map(|(b, _)| time::to_sql(b.received_at)).collect();
    let sigma_k: Vec<Option<f64>> =
        newest.values().map(|s| s.dated.report.statistical.map(|st| st.k)).collect();
    let samples_used: Vec<Option<i32>> = newest.values().map(|s| estimate_samples(s)).collect();
    let synchronised: Vec<bool> =
        newest.values().map(|s| s.dated.report.kernel.synchronised).collect();
    let smear: Vec<String> =
        newest.values().map(|s| s.dated.report.smear.word().to_owned()).collect();
    let leap_table: Vec<Option<i32>> =
        newest.values().map(|s| s.dated.report.tai_offset_s).collect();
    sqlx::query_scalar!(
        r#"INSERT INTO store.host_state AS s
             (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns, sigma_ns,
              sigma_k, estimate_samples, frequency_ppb, frequency_sigma_ppb, drift_limit_ppb,
              kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status,
              kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner,
              rate_lo_ppb, rate_hi_ppb, drift_ceiling_ppb, smear, leap_table_tai_s,
              witness_lo_ns, witness_hi_ns, witness_at)
           SELECT * FROM unnest(
              $1::int8[], $2::timestamptz[], $3::timestamptz[], $4::int8[], $5::int8[], $6::int8[],
              $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::float8[], $12::int4[], $13::int8[],
              $14::int8[], $15::int8[], $16::int8[], $17::int8[], $18::int8[], $19::int8[], $20::bool[],
              $21::int4[], $22::int4[], $23::int4[], $24::int2[], $25::int2[], $26::int2[],
              $27::int8[], $28::int8[], $29::int8[], $30::text[], $31::int4[],
              $32::int8[], $33::int8[], $34::timestamptz[])
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
        &column(|s| s.batch.host),
        &ref_time as _,
        &received as _,
        &column(|s| i64::try_from(s.dated.report.seq.0).unwrap_or(i64::MAX)),
        &column(|s| s.dated.report.realtime.as_ns()),
        &column(|s| s.dated.report.raw.as_ns()),
        &option(|s| s.dated.report.bounds.map(|b| b.lo().as_ns())) as &[Option<i64>],
        &option(|s| s.dated.report.bounds.map(|b| b.hi().as_ns())) as &[Option<i64>],
        &option(|s| samples::offset(&s.dated.report).map(Span::as_ns)) as &[Option<i64>],
        &option(|s| s.dated.report.statistical.map(|st| st.sigma.as_ns())) as &[Option<i64>],
        &sigma_k as &[Option<f64>],
        &samples_used as &[Option<i32>],
        &option(|s| s.dated.report.frequency.map(Ppb::as_ppb)) as &[Option<i64>],
        &option(|s| s.dated.report.frequency_sigma.map(Ppb::as_ppb)) as &[Option<i64>],
        &column(|s| s.dated.report.drift_limit.as_ppb()),
        &column(|s| s.dated.report.kernel.max_error.as_ns()),
        &column(|s| s.dated.report.kernel.estimated_error.as_ns()),
        &column(|s| s.dated.report.kernel.frequency.as_ppb()),
        &column(|s| s.dated.report.kernel.status.into()),
        &synchronised,
        &middle(|s| s.dated.report.kernel.tai_offset_s),
        &middle(|s| s.boot_no),
        &middle(|s| samples::steps(&s.dated.report)),
        &small(|s| numbers::state_number(s.dated.report.state)),
        &small(|s| numbers::leap_number(s.dated.report.leap)),
        &small(|s| numbers::discipliner_number(s.dated.report.discipliner)),
        &column(|s| s.dated.report.rate.lo().as_ppb()),
        &column(|s| s.dated.report.rate.hi().as_ppb()),
        &column(|s| s.dated.report.drift_ceiling.as_ppb()),
        &smear,
        &leap_table as &[Option<i32>],
        &witness(Bounds::lo) as &[Option<i64>],
        &witness(Bounds::hi) as &[Option<i64>],
        &witness_at as _,
    )
    .fetch_all(connection)
    .await
    .map(BTreeSet::from_iter)
}

fn estimate_samples(sample: &Fresh<'_>) -> Option<i32> {
    let samples = sample.dated.report.statistical?.samples;
    Some(i32::try_from(samples).unwrap_or(i32::MAX))
}

/// That a batch came in, though with nothing new, and what its stamps witness.
async fn touch(
    connection: &mut PgConnection,
    latest: &BTreeMap<i64, Contact<'_>>,
) -> Result<(), sqlx::Error> {
    if latest.is_empty() {
        return Ok(());
    }
    let hosts: Vec<i64> = latest.keys().copied().collect();
    let received: Vec<_> = latest.values().map(|(b, _)| time::to_sql(b.received_at)).collect();
    let lo: Vec<Option<i64>> = latest.values().map(|(_, w)| w.map(|w| w.lo().as_ns())).collect();
    let hi: Vec<Option<i64>> = latest.values().map(|(_, w)| w.map(|w| w.hi().as_ns())).collect();
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
        &lo as &[Option<i64>],
        &hi as &[Option<i64>],
    )
    .execute(connection)
    .await
    .map(drop)
}
