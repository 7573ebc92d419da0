//! Samples of one host, hour and clock epoch, packed into a string of bits, exact to the last bit.
//!
//! Each column is a straight line plus a residual of fixed width, so that the sample in any place is read
//! without those before it, by the database as well (`store.block_samples`, `store.block_pair`).
//! The layout, all integers highest bit first:
//!
//! * for each column a head: nulls (2 bits: 0 none, 1 all, 2 some); unless all are null, width (7),
//!   length of the base (7), base, length of the slope (7), slope;
//! * then for each column, unless all are null: presence (one bit a sample, where some are null), residuals.
//!
//! A value is `base + residual + line`, added to what is known of its sample already (see [`Column`]).
//! A column that this arithmetic does not hold (no clock shows such values) has width 64: its values as
//! they are.

mod bits;
#[cfg(test)]
mod tests;

pub use bits::Bits;

/// A sample without what all of its block have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Columns of `store.sample`, in the order of [`COLUMNS`].
    pub values: [Option<i64>; COLUMNS.len()],
}

/// The columns of a block, in the order in which they are packed: one that leans on another comes after it.
pub const COLUMNS: [Column; 13] = [
    Column::Seq,
    Column::Raw,
    Column::Host,
    Column::Ref,
    Column::Offset,
    Column::Lo,
    Column::Hi,
    Column::Sigma,
    Column::Frequency,
    Column::Stray,
    Column::RateMargin,
    Column::State,
    Column::SourcesUsed,
];

/// What is packed of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Number of the report: a line over the place in the block.
    Seq,
    /// Raw clock: a line over seq.
    Raw,
    /// Host clock, less the raw clock: a line over the raw clock, as are all that follow.
    Host,
    /// The collector's time, µs since 2000, less the raw clock in µs.
    Ref,
    /// The estimate.
    Offset,
    /// Estimate less lower bound.
    Lo,
    /// How far the upper bound is from mirroring the lower one.
    Hi,
    /// Standard deviation of the estimate.
    Sigma,
    /// Rate of the oscillator.
    Frequency,
    /// How far the host clock strayed from a line.
    Stray,
    /// How sure the rate is.
    RateMargin,
    /// State.
    State,
    /// Sources that took part.
    SourcesUsed,
}

/// The block does not hold what its own head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of samples is damaged")]
pub struct Damaged;

/// The abscissa of lines over the raw clock is in units of 2^20 ns; their slopes have 22 binary places.
const RAW_UNIT: u32 = 20;
const SLOPE_PLACES: u32 = 22;
const PLAIN: u32 = 64;

impl Sample {
    /// The value of a column.
    pub fn get(&self, column: Column) -> Option<i64> {
        self.values[column as usize]
    }

    fn or_zero(&self, column: Column) -> i64 {
        self.get(column).unwrap_or(0)
    }
}

impl Column {
    /// `value` less what the columns before it tell; none where the difference is too large.
    fn reduce(self, value: i64, sample: &Sample) -> Option<i64> {
        match self {
            Self::Host => value.checked_sub(sample.or_zero(Self::Raw)),
            Self::Ref => value.checked_sub(sample.or_zero(Self::Raw) / 1_000),
            Self::Lo => sample.or_zero(Self::Offset).checked_sub(value),
            Self::Hi => {
                let mirrored = mirrored(sample)?;
                value.checked_sub(mirrored)
            }
            _ => Some(value),
        }
    }

    /// The inverse of [`Column::reduce`]; the database does the same steps, so none may overflow.
    fn restore(self, reduced: i64, sample: &Sample) -> Option<i64> {
        match self {
            Self::Host => sample.or_zero(Self::Raw).checked_add(reduced),
            Self::Ref => (sample.or_zero(Self::Raw) / 1_000).checked_add(reduced),
            Self::Lo => sample.or_zero(Self::Offset).checked_sub(reduced),
            Self::Hi => mirrored(sample)?.checked_add(reduced),
            _ => Some(reduced),
        }
    }

    /// Where a sample lies on the column's line, from the block's first sample.
    fn abscissa(self, place: usize, sample: &Sample, first: &Sample) -> Option<i64> {
        let since = |column| sample.or_zero(column).checked_sub(first.or_zero(column));
        match self {
            Self::Seq => i64::try_from(place).ok(),
            Self::Raw => since(Self::Seq),
            _ => Some(since(Self::Raw)? >> RAW_UNIT),
        }
    }

    fn slope_places(self) -> u32 {
        match self {
            Self::Seq | Self::Raw => 0,
            _ => SLOPE_PLACES,
        }
    }
}

fn mirrored(sample: &Sample) -> Option<i64> {
    let twice = sample.or_zero(Column::Offset).checked_mul(2)?;
    twice.checked_sub(sample.or_zero(Column::Lo))
}

/// How one column is packed.
#[derive(Clone, Copy, Debug)]
struct Line {
    width: u32,
    base: i64,
    slope: i64,
}

impl Line {
    const PLAIN: Self = Self { width: PLAIN, base: 0, slope: 0 };

    fn at(self, column: Column, place: usize, sample: &Sample, first: &Sample) -> Option<i64> {
        if self.slope == 0 {
            return Some(0);
        }
        let x = column.abscissa(place, sample, first)?;
        Some(self.slope.checked_mul(x)? >> column.slope_places())
    }
}

/// Packs samples of one host and clock epoch, in order of seq.
pub fn encode(samples: &[Sample]) -> Bits {
    let lines = COLUMNS.map(|column| fit(column, samples));
    let mut bits = Bits::default();
    for (column, line) in COLUMNS.into_iter().zip(lines) {
        head(&mut bits, nulls(column, samples), line);
    }
    for (column, line) in COLUMNS.into_iter().zip(lines) {
        match nulls(column, samples) {
            1 => continue,
            2 => samples.iter().for_each(|s| bits.push(s.get(column).is_some().into(), 1)),
            _ => {}
        }
        for (place, sample) in samples.iter().enumerate() {
            let residual = match sample.get(column) {
                None => 0,
                Some(value) if line.width == PLAIN => value,
                Some(_) => residual(column, line, place, sample, &samples[0])
                    .expect("invariant: fit() has tried every sample"),
            };
            bits.push(residual as u64, line.width);
        }
    }
    bits
}

fn nulls(column: Column, samples: &[Sample]) -> u64 {
    match samples.iter().filter(|sample| sample.get(column).is_none()).count() {
        0 => 0,
        n if n == samples.len() => 1,
        _ => 2,
    }
}

fn head(bits: &mut Bits, nulls: u64, line: Line) {
    bits.push(nulls, 2);
    if nulls == 1 {
        return;
    }
    bits.push(line.width.into(), 7);
    for value in [line.base, line.slope] {
        let length = signed_length(value);
        bits.push(length.into(), 7);
        bits.push(value as u64, length);
    }
}

fn signed_length(value: i64) -> u32 {
    match value {
        0 => 0,
        value => 65 - (value ^ (value >> 63)).leading_zeros(),
    }
}

fn residual(
    column: Column,
    line: Line,
    place: usize,
    sample: &Sample,
    first: &Sample,
) -> Option<i64> {
    let reduced = column.reduce(sample.get(column)?, sample)?;
    let residual = reduced
        .checked_sub(line.at(column, place, sample, first)?)?
        .checked_sub(line.base)
        .filter(|residual| *residual >= 0)?;
    // What decoding will do must not overflow either.
    let again = line.base.checked_add(residual)?;
    let again = again.checked_add(line.at(column, place, sample, first)?)?;
    column.restore(again, sample)?;
    Some(residual)
}

/// The narrowest of: no slope, the slope from end to end, the slope of least squares.
fn fit(column: Column, samples: &[Sample]) -> Line {
    let mut best = Line::PLAIN;
    for slope in slopes(column, samples) {
        if let Some(line) = narrow(column, slope, samples)
            && line.width < best.width
        {
            best = line;
        }
    }
    best
}

fn narrow(column: Column, slope: i64, samples: &[Sample]) -> Option<Line> {
    let first = samples.first()?;
    let line = Line { width: 0, base: 0, slope };
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for (place, sample) in samples.iter().enumerate() {
        let Some(value) = sample.get(column) else { continue };
        let reduced = column.reduce(value, sample)?;
        let rest = reduced.checked_sub(line.at(column, place, sample, first)?)?;
        (least, most) = (least.min(rest), most.max(rest));
        let _ = column.restore(reduced, sample)?;
    }
    if least > most {
        return Some(line);
    }
    let range = most.checked_sub(least)?;
    let line = Line { width: 64 - range.leading_zeros(), base: least, slope };
    let fits = |(place, sample): (usize, &Sample)| {
        sample.get(column).is_none() || residual(column, line, place, sample, first).is_some()
    };
    samples.iter().enumerate().all(fits).then_some(line)
}

fn slopes(column: Column, samples: &[Sample]) -> Vec<i64> {
    let mut points = Vec::with_capacity(samples.len());
    for (place, sample) in samples.iter().enumerate() {
        let Some(value) = sample.get(column) else { continue };
        let x = column.abscissa(place, sample, &samples[0]);
        match (x, column.reduce(value, sample)) {
            (Some(x), Some(y)) => points.push((x, y)),
            _ => return vec![0],
        }
    }
    let (Some(&(x0, y0)), Some(&(x1, y1))) = (points.first(), points.last()) else {
        return vec![0];
    };
    let places = f64::from(1u32 << column.slope_places());
    let fixed = |dy: f64, dx: f64| if dx == 0.0 { 0 } else { (dy / dx * places).round() as i64 };
    let ends = fixed(y1.saturating_sub(y0) as f64, x1.saturating_sub(x0) as f64);
    let (mut n, mut sx, mut sy) = (0.0, 0.0, 0.0);
    for &(x, y) in &points {
        n += 1.0;
        sx += x.saturating_sub(x0) as f64;
        sy += y.saturating_sub(y0) as f64;
    }
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for &(x, y) in &points {
        let dx = x.saturating_sub(x0) as f64 - sx / n;
        sxx += dx * dx;
        sxy += dx * (y.saturating_sub(y0) as f64 - sy / n);
    }
    vec![0, ends, fixed(sxy, sxx)]
}

/// Unpacks the `count` samples of a block.
///
/// # Errors
/// The bits are not what [`encode`] made of so many samples.
pub fn decode(bits: &Bits, count: usize) -> Result<Vec<Sample>, Damaged> {
    let mut at = 0;
    let mut heads = Vec::with_capacity(COLUMNS.len());
    for _ in COLUMNS {
        heads.push(read_head(bits, &mut at).ok_or(Damaged)?);
    }
    // Every sample of a block costs bits, or its columns are lines: no more of them than an hour has room for.
    if count == 0 || count > MOST_SAMPLES {
        return Err(Damaged);
    }
    let mut samples = vec![Sample::default(); count];
    for (column, head) in COLUMNS.into_iter().zip(heads) {
        let Some((line, some_null)) = head else { continue };
        let present = at;
        if some_null {
            at += count;
        }
        for place in 0..count {
            let there = !some_null || bits.get(present + place, 1).ok_or(Damaged)? == 1;
            let residual = bits.get(at, line.width).ok_or(Damaged)? as i64;
            at += line.width as usize;
            if there {
                let value = value(column, line, residual, place, &samples).ok_or(Damaged)?;
                samples[place].values[column as usize] = Some(value);
            }
        }
    }
    Ok(samples)
}

/// Most samples in one block; an hour at the highest rate that one host may report has fewer.
pub const MOST_SAMPLES: usize = 100_000;

fn value(column: Column, line: Line, residual: i64, place: usize, all: &[Sample]) -> Option<i64> {
    if line.width == PLAIN {
        return Some(residual);
    }
    let sum = line.base.checked_add(residual)?;
    let sum = sum.checked_add(line.at(column, place, &all[place], &all[0])?)?;
    column.restore(sum, &all[place])
}

/// `None` inside: all are null. The flag: some are.
#[expect(clippy::option_option, reason = "the outer one is damage")]
fn read_head(bits: &Bits, at: &mut usize) -> Option<Option<(Line, bool)>> {
    let mut take = |width| {
        let value = bits.get(*at, width);
        *at += width as usize;
        value
    };
    let nulls = take(2)?;
    if nulls == 1 {
        return Some(None);
    }
    let width = u32::try_from(take(7)?).ok().filter(|width| *width <= PLAIN)?;
    let mut signed = || {
        let length = u32::try_from(take(7)?).ok().filter(|length| *length <= 64)?;
        let value = take(length)? as i64;
        Some(if length == 0 { 0 } else { value << (64 - length) >> (64 - length) })
    };
    let (base, slope) = (signed()?, signed()?);
    Some(Some((Line { width, base, slope }, nulls == 2)))
}
