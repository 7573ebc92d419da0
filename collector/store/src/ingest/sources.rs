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
struct Row<'a> {
    host: i64,
    position: i16,
    sample: &'a Fresh<'a>,
    source: &'a SourceReport,
}

/// Rewrites the sources of these hosts where they changed since `memory` last saw them written; what is
/// to be remembered once that is committed.
pub(super) async fn write(
    connection: &mut PgConnection,
    memory: &Memory,
    marks: &Marks,
    newest: &[(i64, &Fresh<'_>)],
) -> Result<Vec<(i64, Remembered)>, sqlx::Error> {
    let mut rows = Vec::new();
    let mut shortened = Vec::new();
    let mut remembered = Vec::with_capacity(newest.len());
    for &(host, sample) in newest {
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
                rows.push(Row { host, position: place(position), sample, source });
                Written { digest, seen_at: sample.dated.ref_time }
            })
        });
        remembered.push((host, Remembered::new(mark, written.collect())));
    }
    delete_beyond(connection, &shortened).await?;
    upsert(connection, &rows).await?;
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

async fn upsert(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let seen_at: Vec<_> = rows.iter().map(|r| time::to_sql(r.sample.dated.ref_time)).collect();
    let column =
        |f: fn(&SourceReport) -> i64| rows.iter().map(|r| f(r.source)).collect::<Vec<i64>>();
    let option = |f: fn(&SourceReport) -> Option<i64>| {
        rows.iter().map(|r| f(r.source)).collect::<Vec<Option<i64>>>()
    };
    let small =
        |f: fn(&SourceReport) -> i16| rows.iter().map(|r| f(r.source)).collect::<Vec<i16>>();
    let text = |f: fn(&SourceReport) -> &str| {
        rows.iter().map(|r| f(r.source).to_owned()).collect::<Vec<String>>()
    };
    sqlx::query!(
        "INSERT INTO store.source_state
           (host_id, position, name, address, verdict, reach, poll_log2, lo_ns, hi_ns, offset_ns,
            delay_ns, jitter_ns, stratum, reference_id, root_delay_ns, root_dispersion_ns,
            frequency_ppb, accepted, refused, leap, authentication, stamps, kind, interleaved, smear,
            least_delay_ns, asymmetry_lo_ns, asymmetry_hi_ns, seen_at)
         SELECT * FROM unnest(
            $1::int8[], $2::int2[], $3::text[], $4::text[], $5::text[], $6::int2[], $7::int2[],
            $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int2[], $14::int8[],
            $15::int8[], $16::int8[], $17::int8[], $18::int8[], $19::int8[], $20::int2[], $21::int2[],
            $22::int2[], $23::text[], $24::bool[], $25::text[], $26::int8[], $27::int8[], $28::int8[],
            $29::timestamptz[])
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
        &rows.iter().map(|r| r.host).collect::<Vec<i64>>(),
        &rows.iter().map(|r| r.position).collect::<Vec<i16>>(),
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
        &rows.iter().map(|r| r.source.interleaved).collect::<Vec<bool>>(),
        &text(|s| s.smear.word()),
        &option(|s| s.least_delay.map(Span::as_ns)) as &[Option<i64>],
        &option(|s| s.asymmetry.map(|b| b.lo().as_ns())) as &[Option<i64>],
        &option(|s| s.asymmetry.map(|b| b.hi().as_ns())) as &[Option<i64>],
        &seen_at as _,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A place in a list, as the column holds it.
fn place(position: usize) -> i16 {
    i16::try_from(position).unwrap_or(i16::MAX)
}
