use std::collections::BTreeMap;

use sqlx::PgConnection;
use timebase::{Ppb, SourceReport, Span};

use super::{Batch, Fresh, numbers, samples};
use crate::time;

/// Rewrites the newest state of the hosts: one row each, and one for each of their sources.
pub(super) async fn write(
    connection: &mut PgConnection,
    batches: &[Batch],
    fresh: &[Fresh<'_>],
) -> Result<(), sqlx::Error> {
    // In the order of hosts; `fresh` is sorted by time within each.
    let newest: BTreeMap<i64, &Fresh<'_>> =
        fresh.iter().filter(|f| f.batch.current).map(|f| (f.batch.host, f)).collect();
    let updated = upsert_states(connection, &newest).await?;
    touch(connection, batches).await?;
    let newest: Vec<_> = newest.into_iter().filter(|(host, _)| updated.contains(host)).collect();
    replace_sources(connection, &newest).await
}

/// The hosts whose row was written: a report older than what is there changes nothing.
async fn upsert_states(
    connection: &mut PgConnection,
    newest: &BTreeMap<i64, &Fresh<'_>>,
) -> Result<Vec<i64>, sqlx::Error> {
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let column = |f: fn(&Fresh<'_>) -> i64| newest.values().map(|s| f(s)).collect::<Vec<i64>>();
    let option = |f: fn(&Fresh<'_>) -> Option<i64>| {
        newest.values().map(|s| f(s)).collect::<Vec<Option<i64>>>()
    };
    let small = |f: fn(&Fresh<'_>) -> i16| newest.values().map(|s| f(s)).collect::<Vec<i16>>();
    let middle = |f: fn(&Fresh<'_>) -> i32| newest.values().map(|s| f(s)).collect::<Vec<i32>>();
    let ref_time: Vec<_> = newest.values().map(|s| time::to_sql(s.dated.ref_time)).collect();
    let received: Vec<_> = newest.values().map(|s| time::to_sql(s.batch.received_at)).collect();
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
              rate_lo_ppb, rate_hi_ppb, drift_ceiling_ppb, smear, leap_table_tai_s)
           SELECT * FROM unnest(
              $1::int8[], $2::timestamptz[], $3::timestamptz[], $4::int8[], $5::int8[], $6::int8[],
              $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::float8[], $12::int4[], $13::int8[],
              $14::int8[], $15::int8[], $16::int8[], $17::int8[], $18::int8[], $19::int8[], $20::bool[],
              $21::int4[], $22::int4[], $23::int4[], $24::int2[], $25::int2[], $26::int2[],
              $27::int8[], $28::int8[], $29::int8[], $30::text[], $31::int4[])
           ON CONFLICT (host_id) DO UPDATE SET
              ref_time = excluded.ref_time, received_at = excluded.received_at, seq = excluded.seq,
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
              smear = excluded.smear, leap_table_tai_s = excluded.leap_table_tai_s
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
    )
    .fetch_all(connection)
    .await
}

fn estimate_samples(sample: &Fresh<'_>) -> Option<i32> {
    let samples = sample.dated.report.statistical?.samples;
    Some(i32::try_from(samples).unwrap_or(i32::MAX))
}

/// That a batch came in, even one with nothing new, and what its stamps witness.
async fn touch(connection: &mut PgConnection, batches: &[Batch]) -> Result<(), sqlx::Error> {
    let mut latest: BTreeMap<i64, (&Batch, Option<timebase::Bounds>)> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.current) {
        let before = latest.get(&batch.host).and_then(|(_, witness)| *witness);
        latest.insert(batch.host, (batch, batch.witness.or(before)));
    }
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

async fn replace_sources(
    connection: &mut PgConnection,
    newest: &[(i64, &Fresh<'_>)],
) -> Result<(), sqlx::Error> {
    let hosts: Vec<i64> = newest.iter().map(|(host, _)| *host).collect();
    let counts: Vec<i16> =
        newest.iter().map(|(_, s)| place(s.dated.report.sources.len())).collect();
    if hosts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "DELETE FROM store.source_state s USING unnest($1::int8[], $2::int2[]) AS k(host_id, n)
         WHERE s.host_id = k.host_id AND s.position >= k.n",
        &hosts,
        &counts
    )
    .execute(&mut *connection)
    .await?;
    upsert_sources(connection, newest).await
}

async fn upsert_sources(
    connection: &mut PgConnection,
    newest: &[(i64, &Fresh<'_>)],
) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, i16, &SourceReport)> = newest
        .iter()
        .flat_map(|(host, sample)| {
            let sources = sample.dated.report.sources.iter().enumerate();
            sources.map(|(position, source)| (*host, place(position), source))
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let column = |f: fn(&SourceReport) -> i64| rows.iter().map(|r| f(r.2)).collect::<Vec<i64>>();
    let option = |f: fn(&SourceReport) -> Option<i64>| {
        rows.iter().map(|r| f(r.2)).collect::<Vec<Option<i64>>>()
    };
    let small = |f: fn(&SourceReport) -> i16| rows.iter().map(|r| f(r.2)).collect::<Vec<i16>>();
    let text = |f: fn(&SourceReport) -> &str| {
        rows.iter().map(|r| f(r.2).to_owned()).collect::<Vec<String>>()
    };
    sqlx::query!(
        "INSERT INTO store.source_state
           (host_id, position, name, address, verdict, reach, poll_log2, lo_ns, hi_ns, offset_ns,
            delay_ns, jitter_ns, stratum, reference_id, root_delay_ns, root_dispersion_ns,
            frequency_ppb, accepted, refused, leap, authentication, stamps, kind, interleaved, smear,
            least_delay_ns, asymmetry_lo_ns, asymmetry_hi_ns)
         SELECT * FROM unnest(
            $1::int8[], $2::int2[], $3::text[], $4::text[], $5::text[], $6::int2[], $7::int2[],
            $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int2[], $14::int8[],
            $15::int8[], $16::int8[], $17::int8[], $18::int8[], $19::int8[], $20::int2[], $21::int2[],
            $22::int2[], $23::text[], $24::bool[], $25::text[], $26::int8[], $27::int8[], $28::int8[])
         ON CONFLICT (host_id, position) DO UPDATE SET
            name = excluded.name, address = excluded.address, verdict = excluded.verdict,
            reach = excluded.reach, poll_log2 = excluded.poll_log2, lo_ns = excluded.lo_ns,
            hi_ns = excluded.hi_ns, offset_ns = excluded.offset_ns, delay_ns = excluded.delay_ns,
            jitter_ns = excluded.jitter_ns, stratum = excluded.stratum,
            reference_id = excluded.reference_id, root_delay_ns = excluded.root_delay_ns,
            root_dispersion_ns = excluded.root_dispersion_ns,
            frequency_ppb = excluded.frequency_ppb, accepted = excluded.accepted,
            refused = excluded.refused, leap = excluded.leap,
            authentication = excluded.authentication, stamps = excluded.stamps,
            kind = excluded.kind, interleaved = excluded.interleaved, smear = excluded.smear,
            least_delay_ns = excluded.least_delay_ns, asymmetry_lo_ns = excluded.asymmetry_lo_ns,
            asymmetry_hi_ns = excluded.asymmetry_hi_ns",
        &rows.iter().map(|r| r.0).collect::<Vec<i64>>(),
        &rows.iter().map(|r| r.1).collect::<Vec<i16>>(),
        &text(|s| &s.name),
        &text(|s| &s.address),
        &text(|s| s.verdict.word()),
        &small(|s| s.reach.into()),
        &small(|s| s.poll_log2.into()),
        &option(|s| s.bounds.map(|b| b.lo().as_ns())) as &[Option<i64>],
        &option(|s| s.bounds.map(|b| b.hi().as_ns())) as &[Option<i64>],
        &option(|s| s.offset.map(Span::as_ns)) as &[Option<i64>],
        &option(|s| s.delay.map(Span::as_ns)) as &[Option<i64>],
        &option(|s| s.jitter.map(Span::as_ns)) as &[Option<i64>],
        &small(|s| s.stratum.into()),
        &column(|s| s.reference_id.into()),
        &column(|s| s.root_delay.as_ns()),
        &column(|s| s.root_dispersion.as_ns()),
        &option(|s| s.frequency.map(Ppb::as_ppb)) as &[Option<i64>],
        &column(|s| i64::try_from(s.accepted).unwrap_or(i64::MAX)),
        &column(|s| i64::try_from(s.refused).unwrap_or(i64::MAX)),
        &small(|s| numbers::leap_number(s.leap)),
        &small(|s| numbers::authentication_number(s.authentication)),
        &small(|s| numbers::stamps_number(s.stamps)),
        &text(|s| s.kind.word()),
        &rows.iter().map(|r| r.2.interleaved).collect::<Vec<bool>>(),
        &text(|s| s.smear.word()),
        &option(|s| s.least_delay.map(Span::as_ns)) as &[Option<i64>],
        &option(|s| s.asymmetry.map(|b| b.lo().as_ns())) as &[Option<i64>],
        &option(|s| s.asymmetry.map(|b| b.hi().as_ns())) as &[Option<i64>],
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A place in a list, as the column holds it.
fn place(position: usize) -> i16 {
    i16::try_from(position).unwrap_or(i16::MAX)
}
