use sqlx::PgConnection;
use timebase::{EventKind, Span};

use super::Fresh;
use crate::time;

/// Appends what happened on the hosts.
pub(super) async fn insert(
    connection: &mut PgConnection,
    fresh: &[Fresh<'_>],
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::default();
    for sample in fresh {
        rows.add(sample);
    }
    if rows.host.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO store.event (host_id, boot_no, seq, place, ref_time, host_ns, raw_ns, kind,
                                  size_ns, summary)
         SELECT * FROM unnest($1::int8[], $2::int4[], $3::int8[], $4::int2[], $5::timestamptz[],
                              $6::int8[], $7::int8[], $8::text[], $9::int8[], $10::text[])",
        &rows.host,
        &rows.boot_no,
        &rows.seq,
        &rows.place,
        &rows.ref_time as _,
        &rows.host_ns,
        &rows.raw_ns,
        &rows.kind,
        &rows.size_ns as &[Option<i64>],
        &rows.summary
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The table, column by column.
#[derive(Default)]
struct Rows {
    host: Vec<i64>,
    boot_no: Vec<i32>,
    seq: Vec<i64>,
    place: Vec<i16>,
    ref_time: Vec<jiff_sqlx::Timestamp>,
    host_ns: Vec<i64>,
    raw_ns: Vec<i64>,
    kind: Vec<String>,
    size_ns: Vec<Option<i64>>,
    summary: Vec<String>,
}

impl Rows {
    fn add(&mut self, sample: &Fresh<'_>) {
        let report = &sample.dated.report;
        for (place, event) in report.events.iter().enumerate() {
            // An event precedes its report on the raw clock; never later than the report came in.
            let at = sample.dated.ref_time - (report.raw - event.raw);
            let at = if at > sample.batch.received_at { sample.batch.received_at } else { at };
            self.host.push(sample.batch.host);
            self.boot_no.push(sample.boot_no);
            self.seq.push(sample.seq());
            self.place.push(i16::try_from(place).unwrap_or(i16::MAX));
            self.ref_time.push(time::to_sql(at));
            self.host_ns.push(event.realtime.as_ns());
            self.raw_ns.push(event.raw.as_ns());
            self.kind.push(event.kind.word().to_owned());
            self.size_ns.push(size(&event.kind).map(Span::as_ns));
            self.summary.push(event.kind.to_string());
        }
    }
}

fn size(kind: &EventKind) -> Option<Span> {
    match kind {
        EventKind::Step { by } => Some(*by),
        EventKind::Suspended { lasted } => Some(*lasted),
        _ => None,
    }
}
