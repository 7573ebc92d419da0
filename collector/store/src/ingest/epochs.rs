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
                                  first_seq, by_age)
         SELECT * FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::timestamptz[], $5::int8[],
                              $6::int8[], $7::int8[], $8::bool[])
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
