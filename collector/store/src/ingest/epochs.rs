use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Fresh, samples};
use crate::time;

/// Notes where clock epochs begin: for the first sample of each. The watermark says which those are, so
/// this costs nothing until a clock is set.
pub(super) async fn insert(
    connection: &mut PgConnection,
    first: &[Fresh<'_>],
) -> Result<(), sqlx::Error> {
    if first.is_empty() {
        return Ok(());
    }
    let column = |f: fn(&Fresh<'_>) -> i64| first.iter().map(f).collect::<Vec<i64>>();
    let seq: Vec<i64> = first.iter().map(Fresh::seq).collect();
    let ref_time: Vec<_> = first.iter().map(|f| time::to_sql(f.dated.ref_time)).collect();
    let boot_no: Vec<i32> = first.iter().map(|f| f.boot_no).collect();
    let steps: Vec<i32> = first.iter().map(|f| samples::steps(&f.dated.report)).collect();
    let by_age: Vec<bool> = first.iter().map(|f| f.dated.by_age).collect();
    sqlx::query!(
        "INSERT INTO store.epoch (host_id, boot_no, steps, first_ref_time, first_host_ns, first_raw_ns,
                                  first_seq, by_age, filed_since)
         SELECT * FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::timestamptz[], $5::int8[],
                              $6::int8[], $7::int8[], $8::bool[], $4::timestamptz[])
         ON CONFLICT DO NOTHING",
        &column(|f| f.batch.host),
        &boot_no,
        &steps,
        &ref_time as _,
        &column(|f| f.dated.report.realtime.as_ns()),
        &column(|f| f.dated.report.raw.as_ns()),
        &seq,
        &by_age,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Notes how far back samples of boots that have ended are filed: their clocks may claim any time, also one before
/// the first sample of their epoch. What is filed by its age is not before that.
pub(super) async fn reach_back(
    connection: &mut PgConnection,
    fresh: &[Fresh<'_>],
) -> Result<(), sqlx::Error> {
    let mut earliest = BTreeMap::new();
    for f in fresh.iter().filter(|f| !f.batch.current) {
        let epoch = (f.batch.host, f.boot_no, samples::steps(&f.dated.report));
        let since = earliest.entry(epoch).or_insert(f.dated.ref_time);
        *since = f.dated.ref_time.min(*since);
    }
    if earliest.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE store.epoch e SET filed_since = k.since
         FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::timestamptz[]) AS k(host_id, boot_no, steps, since)
         WHERE e.host_id = k.host_id AND e.boot_no = k.boot_no AND e.steps = k.steps AND e.filed_since > k.since",
        &earliest.keys().map(|epoch| epoch.0).collect::<Vec<_>>(),
        &earliest.keys().map(|epoch| epoch.1).collect::<Vec<_>>(),
        &earliest.keys().map(|epoch| epoch.2).collect::<Vec<_>>(),
        &earliest.values().map(|since| time::to_sql(*since)).collect::<Vec<_>>() as _,
    )
    .execute(connection)
    .await
    .map(drop)
}
