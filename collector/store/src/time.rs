//! Between [`timebase`] and `timestamptz`.

use timebase::{Timestamp, Utc};

/// For binding; microseconds, which is all that `timestamptz` holds. Out of range saturates.
pub fn to_sql(at: Timestamp<Utc>) -> jiff_sqlx::Timestamp {
    to_jiff(at).into()
}

/// For calendars.
pub fn to_jiff(at: Timestamp<Utc>) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(at.as_ns().into())
        .expect("invariant: every i64 of nanoseconds is a jiff timestamp")
}

/// From a column; saturates beyond the years 1677 to 2262.
pub fn from_sql(at: jiff_sqlx::Timestamp) -> Timestamp<Utc> {
    let ns = at.to_jiff().as_nanosecond();
    Timestamp::from_ns(ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}
