//! Hours that are over, from rows into blocks.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Column as _, PgConnection, Postgres, Row, Transaction, TypeInfo};
use timebase::{Span, Timestamp, Utc};
use tokio_stream::StreamExt;

use super::{HOUR, Marks, Progress};
use crate::block::{self, Bits, COLUMNS, Column, MOST_SAMPLES, Sample};
use crate::copy::{self, HEADER, POSTGRES_EPOCH_US, Rows, TRAILER};
use crate::locks::Job;
use crate::partitions::BLOCKS;
use crate::{Store, time};

/// What identifies a block, then the columns of [`COLUMNS`].
const SELECT: &str = "host_id, boot_no, steps, \
    (extract(epoch FROM date_bin('1 hour', ref_time, 'epoch')) / 3600)::int8, seq, raw_ns, host_ns, \
    (extract(epoch FROM ref_time) * 1000000)::int8 - 946684800000000, offset_ns, lo_ns, hi_ns, sigma_ns, \
    frequency_ppb, stray_ns, rate_margin_ppb, state, sources_used";
const KEYS: usize = 4;
const FIELDS: usize = KEYS + COLUMNS.len();

const COPY: &str = "COPY store.sample_block (host_id, hour, first_seq, last_seq, first_ref, last_ref, \
                    first_host_ns, last_host_ns, first_raw_ns, last_raw_ns, boot_no, steps, n, data) \
                    FROM STDIN (FORMAT binary)";
const BLOCK_FIELDS: i16 = 14;
/// Blocks are sent in pieces of about this size.
const PIECE: usize = 64 * 1024;
/// Late samples held in memory at once, but for those of one host.
const LATE_AT_ONCE: i64 = 200_000;

const HOUR_US: i64 = 3_600_000_000;

/// Host, boot, steps, hour since 1970.
type Key = [i64; KEYS];

impl Store {
    pub(super) async fn repack(
        &self,
        now: Timestamp<Utc>,
        age: Span,
        most_hours: u64,
        progress: &mut Progress,
    ) -> Result<(), sqlx::Error> {
        let mut closed = 0;
        while closed < most_hours {
            let Some(hour) = self.seal_hour(now - age).await? else { break };
            let Some(samples) = self.repack_hour(hour).await? else { break };
            progress.samples += samples;
            closed += 1;
        }
        progress.hours += closed;
        // Once an hour, that they gather to blocks worth the name.
        if closed > 0 {
            progress.late += self.repack_late().await?;
        }
        Ok(())
    }

    /// Closes the next hour to writers, if it is old enough and rolled up.
    async fn seal_hour(
        &self,
        oldest: Timestamp<Utc>,
    ) -> Result<Option<Timestamp<Utc>>, sqlx::Error> {
        let marks = self.marks().await?;
        let hour = marks.closed_until;
        let end = hour + HOUR;
        if marks.are_unset() || end > oldest || end > marks.minutes_until {
            return Ok(None);
        }
        let Some(mut tx) = self.without_writers().await? else { return Ok(None) };
        sqlx::query!(
            "UPDATE store.tier_mark SET sealed_until = greatest(sealed_until, $1)",
            time::to_sql(end) as _
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(hour))
    }

    /// How many samples it had; `None`: another collector has this hour in hand, or done.
    async fn repack_hour(&self, hour: Timestamp<Utc>) -> Result<Option<u64>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        if !Job::Repacking.alone(&mut tx).await?
            || Marks::read(&mut *tx).await?.closed_until != hour
        {
            return Ok(None);
        }
        BLOCKS.make(&mut tx, hour, hour).await?;
        let jiff = (time::to_jiff(hour), time::to_jiff(hour + HOUR));
        let query = format!(
            "COPY (SELECT {SELECT} FROM store.sample WHERE ref_time >= '{}' AND ref_time < '{}' \
             ORDER BY host_id, boot_no, steps, seq) TO STDOUT (FORMAT binary)",
            jiff.0, jiff.1
        );
        // Read on another connection: nothing changes what is sealed. It is not used again: stopped half-way, it
        // would give the next one the rest of these rows.
        let mut reading = self.pool.acquire().await?;
        reading.close_on_drop();
        let mut rows = reading.copy_out_raw(&query).await?;
        let (mut packer, mut pieces) = (Packer::default(), Rows::default());
        let mut copy = tx.copy_in_raw(COPY).await?;
        let mut values = [None; FIELDS];
        while let Some(piece) = rows.next().await {
            pieces.add(&piece?);
            while pieces.next(&mut values) {
                packer.add(&values);
            }
            if packer.out.len() >= PIECE {
                copy.send(packer.take()).await?;
            }
        }
        packer.finish();
        copy.send(packer.take()).await?;
        copy.finish().await?;
        sqlx::query!(
            "UPDATE store.tier_mark SET closed_until = $1",
            time::to_sql(hour + HOUR) as _
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(packer.samples))
    }

    /// Samples that came after their hour was sealed, into blocks beside.
    async fn repack_late(&self) -> Result<u64, sqlx::Error> {
        let mut total = 0;
        let mut after = i64::MIN;
        loop {
            let mut tx = self.pool.begin().await?;
            if !Job::Repacking.alone(&mut tx).await? {
                return Ok(total);
            }
            let closed = Marks::read(&mut *tx).await?.closed_until;
            let Some(last) = late_hosts(&mut tx, after, closed).await? else { return Ok(total) };
            total += repack_late_of(&mut tx, after, last, closed).await?;
            tx.commit().await?;
            after = last;
        }
    }
}

/// The last of the next hosts that together have not too many late samples.
async fn late_hosts(
    connection: &mut PgConnection,
    after: i64,
    closed: Timestamp<Utc>,
) -> Result<Option<i64>, sqlx::Error> {
    let hosts = sqlx::query!(
        r#"SELECT host_id, count(*) AS "samples!" FROM store.sample_late
           WHERE host_id > $1 AND ref_time < $2 GROUP BY host_id ORDER BY host_id LIMIT 10000"#,
        after,
        time::to_sql(closed) as _
    )
    .fetch_all(connection)
    .await?;
    let (mut samples, mut last) = (0, None);
    for host in &hosts {
        samples += host.samples;
        if last.is_some() && samples > LATE_AT_ONCE {
            break;
        }
        last = Some(host.host_id);
    }
    Ok(last)
}

/// Those of hosts after `after` up to `last`; how many.
async fn repack_late_of(
    tx: &mut Transaction<'static, Postgres>,
    after: i64,
    last: i64,
    closed: Timestamp<Utc>,
) -> Result<u64, sqlx::Error> {
    // Not `RETURNING {SELECT}`: Citus returns nothing that depends on more than the row.
    let delete = format!(
        "WITH late AS (DELETE FROM store.sample_late \
                       WHERE host_id > $1 AND host_id <= $2 AND ref_time < $3 RETURNING *) \
         SELECT {SELECT} FROM late"
    );
    let rows = sqlx::query(AssertSqlSafe(delete))
        .bind(after)
        .bind(last)
        .bind(time::to_sql(closed))
        .fetch_all(&mut **tx)
        .await?;
    let mut samples = rows.iter().map(whole_numbers).collect::<Result<Vec<_>, _>>()?;
    samples.sort_unstable();
    if let (Some(first), Some(newest)) = (
        samples.iter().filter_map(|values| values[KEYS - 1]).min(),
        samples.iter().filter_map(|values| values[KEYS - 1]).max(),
    ) {
        let at = |hours| Timestamp::from_ns(HOUR.times(hours).as_ns());
        BLOCKS.make(tx, at(first), at(newest)).await?;
    }
    let mut packer = Packer::default();
    samples.iter().for_each(|values| packer.add(values));
    packer.finish();
    let mut copy = tx.copy_in_raw(COPY).await?;
    copy.send(packer.take()).await?;
    copy.finish().await?;
    Ok(packer.samples)
}

fn whole_numbers(row: &PgRow) -> Result<[Option<i64>; FIELDS], sqlx::Error> {
    let mut values = [None; FIELDS];
    for (i, value) in values.iter_mut().enumerate() {
        *value = match row.column(i).type_info().name() {
            "INT2" => row.try_get::<Option<i16>, _>(i)?.map(i64::from),
            "INT4" => row.try_get::<Option<i32>, _>(i)?.map(i64::from),
            _ => row.try_get(i)?,
        };
    }
    Ok(values)
}

/// Gathers samples in order and writes each block when the next begins.
#[derive(Debug, Default)]
struct Packer {
    key: Option<Key>,
    gathered: Vec<Sample>,
    out: Vec<u8>,
    begun: bool,
    samples: u64,
}

impl Packer {
    fn add(&mut self, values: &[Option<i64>; FIELDS]) {
        let mut key = [0; KEYS];
        let mut sample = Sample::default();
        for (slot, value) in key.iter_mut().zip(values) {
            *slot = value.unwrap_or_default();
        }
        sample.values.copy_from_slice(&values[KEYS..]);
        if self.key != Some(key) || self.gathered.len() == MOST_SAMPLES {
            self.write();
            self.key = Some(key);
        }
        self.gathered.push(sample);
        self.samples += 1;
    }

    /// What is to be sent so far.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The last block, and the end of the stream.
    fn finish(&mut self) {
        self.write();
        self.begin();
        self.out.extend_from_slice(&TRAILER);
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.extend_from_slice(HEADER);
        }
    }

    fn write(&mut self) {
        let Some([host, boot_no, steps, hour]) = self.key.take() else { return };
        self.begin();
        let samples = std::mem::take(&mut self.gathered);
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
        let out = &mut self.out;
        out.extend_from_slice(&BLOCK_FIELDS.to_be_bytes());
        copy::int8(out, host);
        copy::int8(out, hour * HOUR_US - POSTGRES_EPOCH_US);
        for column in [Column::Seq, Column::Ref, Column::Host, Column::Raw] {
            for sample in [first, last] {
                copy::int8(out, sample.get(column).unwrap_or_default());
            }
        }
        for number in [boot_no, steps] {
            copy::int4(out, i32::try_from(number).expect("invariant: it was an int4"));
        }
        copy::int4(out, i32::try_from(samples.len()).expect("invariant: MOST_SAMPLES"));
        let bits: Bits = block::encode(&samples);
        let length = i32::try_from(bits.len()).expect("invariant: MOST_SAMPLES");
        copy::field(out, &[&length.to_be_bytes(), bits.bytes()].concat());
        self.gathered = samples;
        self.gathered.clear();
    }
}
