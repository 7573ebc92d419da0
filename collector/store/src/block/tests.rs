use proptest::prelude::*;

use super::*;

fn any_value() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0),
        any::<i64>(),
        -1_000_000i64..1_000_000,
        1_800_000_000_000_000_000i64..1_800_003_600_000_000_000,
    ]
}

/// Columns that are never null in the table come first to fourth, and the last two.
fn any_sample() -> impl Strategy<Value = Sample> {
    prop::array::uniform13((any_value(), prop::bool::weighted(0.2))).prop_map(|columns| {
        let mut sample = Sample::default();
        for (i, (value, null)) in columns.into_iter().enumerate() {
            let nullable = (4..11).contains(&i);
            sample.values[i] = (!(nullable && null)).then_some(value);
        }
        sample
    })
}

/// A host that reports every ten seconds with its clock ahead by a bit.
fn steady(count: i64) -> Vec<Sample> {
    (0..count)
        .map(|k| {
            let raw = 5_000_000_000_000 + k * 10_000_000_000 + k * 7_919 % 3_000_000;
            let offset = 40_000 + k * 131 % 9_000;
            let mut sample = Sample::default();
            let values = [
                1_000 + k,
                raw,
                1_800_000_000_000_000_000 + raw + raw / 50_000,
                850_000_000_000_000 + raw / 1_000 + k * 37 % 1_500,
                offset,
                offset - 2_000_000 - k * 577 % 90_000,
                offset + 2_000_000 + k * 577 % 90_000,
                9_000 + k * 17 % 800,
                -20_000 + k % 9,
                3_000 + k * 19 % 700,
                4_000,
                2,
                3,
            ];
            for (slot, value) in sample.values.iter_mut().zip(values) {
                *slot = Some(value);
            }
            sample
        })
        .collect()
}

proptest! {
    /// Proves that whatever samples hold, extremes and nulls included, comes back exactly.
    #[test]
    fn any_samples_come_back(samples in prop::collection::vec(any_sample(), 1..40)) {
        prop_assert_eq!(decode(&encode(&samples), samples.len()), Ok(samples));
    }

    /// Proves that bits that nobody encoded are refused or decoded, without a panic.
    #[test]
    fn foreign_bits_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0usize..50) {
        let len = bytes.len() * 8;
        let _ = decode(&Bits::from_bytes(bytes, len).unwrap(), count);
    }
}

/// Proves that the line takes out what is regular: an hour of steady reports costs less than twenty bytes each.
#[test]
fn a_steady_hour_is_small() {
    let samples = steady(360);
    let bits = encode(&samples);
    assert!(bits.bytes().len() < 360 * 20, "{} B a sample", bits.bytes().len() as f64 / 360.0);
    assert_eq!(decode(&bits, 360), Ok(samples));
}

/// Proves that lengths, widths and nulls at their edges come back: one sample, a column that is null
/// throughout, one that is null now and then.
#[test]
fn edges_come_back() {
    let mut samples = steady(9);
    for (k, sample) in samples.iter_mut().enumerate() {
        sample.values[Column::Sigma as usize] = None;
        if k % 3 == 0 {
            sample.values[Column::Lo as usize] = None;
            sample.values[Column::Hi as usize] = None;
        }
    }
    assert_eq!(decode(&encode(&samples), 9), Ok(samples.clone()));
    assert_eq!(decode(&encode(&samples[..1]), 1), Ok(samples[..1].to_vec()));
    assert_eq!(decode(&encode(&samples), 0), Err(Damaged));
    assert_eq!(decode(&encode(&samples), 1_000), Err(Damaged));
}
