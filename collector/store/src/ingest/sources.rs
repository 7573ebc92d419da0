use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use sqlx::PgConnection;
use timebase::{Ppb, SourceReport, Span};

use super::memory::{Memory, Remembered, Written};
use super::watermark::Marks;
use super::{Fresh, numbers};
use crate::time;

/// Between two answers of a source only its bounds age. So long its row may stay as it is.
const REFRESH: Span = Span::from_secs(300);

/// A row of the table.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "store.source_row")]
struct SourceRow {
    host_id: i64,
    position: i16,
    name: String,
    address: String,
    verdict: String,
    reach: i16,
    poll_log2: i16,
    lo_ns: Option<i64>,
    hi_ns: Option<i64>,
    offset_ns: Option<i64>,
    delay_ns: Option<i64>,
    jitter_ns: Option<i64>,
    stratum: i16,
    reference_id: i64,
    root_delay_ns: i64,
    root_dispersion_ns: i64,
    frequency_ppb: Option<i64>,
    accepted: i64,
    refused: i64,
    leap: i16,
    authentication: i16,
    stamps: i16,
    kind: String,
    interleaved: bool,
    smear: String,
    least_delay_ns: Option<i64>,
    asymmetry_lo_ns: Option<i64>,
    asymmetry_hi_ns: Option<i64>,
    seen_at: jiff_sqlx::Timestamp,
}

impl SourceRow {
    fn new(position: usize, sample: &Fresh<'_>, source: &SourceReport) -> Self {
        Self {
            host_id: sample.batch.host,
            position: place(position),
            name: source.name.clone(),
            address: source.address.clone(),
            verdict: source.verdict.word().to_owned(),
            reach: source.reach.into(),
            poll_log2: source.poll_log2.into(),
            lo_ns: source.bounds.map(|bounds| bounds.lo().as_ns()),
            hi_ns: source.bounds.map(|bounds| bounds.hi().as_ns()),
            offset_ns: source.offset.map(Span::as_ns),
            delay_ns: source.delay.map(Span::as_ns),
            jitter_ns: source.jitter.map(Span::as_ns),
            stratum: source.stratum.into(),
            reference_id: source.reference_id.into(),
            root_delay_ns: source.root_delay.as_ns(),
            root_dispersion_ns: source.root_dispersion.as_ns(),
            frequency_ppb: source.frequency.map(Ppb::as_ppb),
            accepted: i64::try_from(source.accepted).unwrap_or(i64::MAX),
            refused: i64::try_from(source.refused).unwrap_or(i64::MAX),
            leap: numbers::leap_number(source.leap),
            authentication: numbers::authentication_number(source.authentication),
            stamps: numbers::stamps_number(source.stamps),
            kind: source.kind.word().to_owned(),
            interleaved: source.interleaved,
            smear: source.smear.word().to_owned(),
            least_delay_ns: source.least_delay.map(Span::as_ns),
            asymmetry_lo_ns: source.asymmetry.map(|bounds| bounds.lo().as_ns()),
            asymmetry_hi_ns: source.asymmetry.map(|bounds| bounds.hi().as_ns()),
            seen_at: time::to_sql(sample.dated.ref_time),
        }
    }
}

/// Rewrites the sources of these hosts where they changed since `memory` last saw them written; what is
/// to be remembered once that is committed.
pub(super) async fn write(
    connection: &mut PgConnection,
    memory: &Memory,
    marks: &Marks,
    newest: &BTreeMap<i64, &Fresh<'_>>,
) -> Result<Vec<(i64, Remembered)>, sqlx::Error> {
    let (mut known, mut others) = (Vec::new(), Vec::new());
    let mut shortened = Vec::new();
    let mut remembered = Vec::with_capacity(newest.len());
    for (&host, sample) in newest {
        let mark = marks.of(sample.batch);
        let before = memory.of(host, mark);
        let sources = &sample.dated.report.sources;
        if before.is_none_or(|before| before.len() > sources.len()) {
            shortened.push((host, place(sources.len())));
        }
        let written = sources.iter().enumerate().map(|(position, source)| {
            let digest = digest(sample, source);
            let before = before.and_then(|before| before.get(position));
            let unchanged = before.filter(|before| {
                before.digest == digest && sample.dated.ref_time - before.seen_at < REFRESH
            });
            unchanged.copied().unwrap_or_else(|| {
                let rows = if before.is_some() { &mut known } else { &mut others };
                rows.push(SourceRow::new(position, sample, source));
                Written { digest, seen_at: sample.dated.ref_time }
            })
        });
        remembered.push((host, Remembered::new(sample.batch.boot, mark, written.collect())));
    }
    delete_beyond(connection, &shortened).await?;
    update(connection, &known).await?;
    upsert(connection, &others).await?;
    Ok(remembered)
}

/// Of all that a source tells, what changes with an answer, a verdict or a step: not its bounds and what
/// follows from them, which age between answers.
fn digest(sample: &Fresh<'_>, source: &SourceReport) -> u64 {
    let mut hasher = DefaultHasher::new();
    (sample.boot_no, sample.dated.report.steps).hash(&mut hasher);
    (&source.name, &source.address, source.kind.word(), source.verdict.word()).hash(&mut hasher);
    (source.reach, source.poll_log2, source.accepted, source.refused).hash(&mut hasher);
    (source.bounds.is_some(), source.offset.is_some(), source.asymmetry.is_some())
        .hash(&mut hasher);
    for span in [source.delay, source.least_delay, source.jitter] {
        span.map(Span::as_ns).hash(&mut hasher);
    }
    (source.stratum, source.reference_id, source.root_delay.as_ns()).hash(&mut hasher);
    source.root_dispersion.as_ns().hash(&mut hasher);
    numbers::leap_number(source.leap).hash(&mut hasher);
    numbers::authentication_number(source.authentication).hash(&mut hasher);
    numbers::stamps_number(source.stamps).hash(&mut hasher);
    (source.interleaved, source.smear.word()).hash(&mut hasher);
    hasher.finish()
}

/// Removes the rows of sources that a host no longer has.
async fn delete_beyond(
    connection: &mut PgConnection,
    shortened: &[(i64, i16)],
) -> Result<(), sqlx::Error> {
    if shortened.is_empty() {
        return Ok(());
    }
    let (hosts, counts): (Vec<i64>, Vec<i16>) = shortened.iter().copied().unzip();
    sqlx::query!(
        "DELETE FROM store.source_state s USING unnest($1::int8[], $2::int2[]) AS k(host_id, n)
         WHERE s.host_id = k.host_id AND s.position >= k.n",
        &hosts,
        &counts
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Rewrites rows that are there: [`upsert`] would lock each before, and log that.
async fn update(connection: &mut PgConnection, rows: &[SourceRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE store.source_state s SET
            name = k.name, address = k.address, verdict = k.verdict, reach = k.reach,
            poll_log2 = k.poll_log2, lo_ns = k.lo_ns, hi_ns = k.hi_ns, offset_ns = k.offset_ns,
            delay_ns = k.delay_ns, jitter_ns = k.jitter_ns, stratum = k.stratum,
            reference_id = k.reference_id, root_delay_ns = k.root_delay_ns,
            root_dispersion_ns = k.root_dispersion_ns, frequency_ppb = k.frequency_ppb,
            accepted = k.accepted, refused = k.refused, leap = k.leap,
            authentication = k.authentication, stamps = k.stamps, kind = k.kind,
            interleaved = k.interleaved, smear = k.smear, least_delay_ns = k.least_delay_ns,
            asymmetry_lo_ns = k.asymmetry_lo_ns, asymmetry_hi_ns = k.asymmetry_hi_ns,
            seen_at = k.seen_at
         FROM unnest($1::store.source_row[]) k
         WHERE s.host_id = k.host_id AND s.position = k.position",
        rows as &[SourceRow]
    )
    .execute(connection)
    .await
    .map(drop)
}

async fn upsert(connection: &mut PgConnection, rows: &[SourceRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO store.source_state
           (host_id, position, name, address, verdict, reach, poll_log2, lo_ns, hi_ns, offset_ns,
            delay_ns, jitter_ns, stratum, reference_id, root_delay_ns, root_dispersion_ns,
            frequency_ppb, accepted, refused, leap, authentication, stamps, kind, interleaved, smear,
            least_delay_ns, asymmetry_lo_ns, asymmetry_hi_ns, seen_at)
         SELECT * FROM unnest($1::store.source_row[])
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
            asymmetry_hi_ns = excluded.asymmetry_hi_ns, seen_at = excluded.seen_at",
        rows as &[SourceRow]
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A place in a list, as the column holds it.
fn place(position: usize) -> i16 {
    i16::try_from(position).unwrap_or(i16::MAX)
}
