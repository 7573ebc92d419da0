//! `GET /api/hosts/{uuid}/series`: the window of a host over time, for charts and tools.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use store::pages::At;
use store::pages::host::HostEvent;
use store::pages::series::Bucket;
use timebase::Span;

use crate::session::Viewer;
use crate::{Error, WebState};

/// Points of a chart: about one per pixel of its width.
const POINTS: f64 = 900.0;
/// Longest bucket that `store.history` makes of minutes.
const MOST_OF_MINUTES_S: f64 = 600.0;
/// Marks on a chart; more could not be told apart.
const EVENTS: i64 = 200;

/// How far back a chart goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) word: &'static str,
    pub(crate) label: &'static str,
    pub(crate) seconds: u32,
}

impl Range {
    pub(crate) const ALL: [Self; 5] = [
        Self { word: "15m", label: "15 min", seconds: 900 },
        Self { word: "1h", label: "1 h", seconds: 3600 },
        Self { word: "6h", label: "6 h", seconds: 6 * 3600 },
        Self { word: "24h", label: "24 h", seconds: 24 * 3600 },
        Self { word: "7d", label: "7 d", seconds: 7 * 24 * 3600 },
    ];

    /// The range a word stands for; none given: one hour.
    pub(crate) fn of(word: Option<&str>) -> Result<Self, Error> {
        let word = word.unwrap_or("1h");
        Self::ALL.into_iter().find(|range| range.word == word).ok_or_else(|| {
            Error::BadAddress(format!(
                "There is no range \"{word}\": it is 15m, 1h, 6h, 24h or 7d."
            ))
        })
    }

    /// Length of one bucket: never below a second, so that single samples stay single. What is longer than the
    /// store makes of minutes is an hour.
    pub(crate) fn bucket_s(self) -> f64 {
        let length = (f64::from(self.seconds) / POINTS).max(1.0);
        if length > MOST_OF_MINUTES_S { 3_600.0 } else { length }
    }
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    pub(crate) range: Option<String>,
}

/// Columns of equal length; a place where `lo`, `hi` and `offset` are null is a gap.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Series {
    range: &'static str,
    /// Seconds since 1970, UTC.
    from: f64,
    now: f64,
    budget_ns: Option<i64>,
    /// Seconds since 1970, UTC.
    t: Vec<f64>,
    lo_ns: Vec<Option<i64>>,
    hi_ns: Vec<Option<i64>>,
    offset_ns: Vec<Option<i64>>,
    events: Vec<Mark>,
}

#[derive(Debug, Serialize)]
struct Mark {
    t: f64,
    kind: String,
    summary: String,
}

pub(crate) async fn show(
    State(state): State<WebState>,
    viewer: Viewer,
    Path(uuid): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Series>, Error> {
    let range = Range::of(asked.range.as_deref())?;
    let uuid = super::host_id(&uuid)?;
    let host = state.store().host_detail(uuid).await?.ok_or(Error::NotFound)?;
    let seconds = f64::from(range.seconds);
    let buckets = state.store().series(uuid, seconds, range.bucket_s()).await?;
    let events = state.store().series_events(uuid, seconds, EVENTS).await?;
    let now = unix(viewer.now());
    let mut series = Series {
        range: range.word,
        from: now - seconds,
        now,
        budget_ns: host.budget_ns,
        events: events.into_iter().map(Mark::new).collect(),
        ..Series::default()
    };
    series.fill(&buckets, longest_step(range, state.config().silence_limit));
    Ok(Json(series))
}

/// Neighbours further apart than this, in seconds, have a gap between them.
fn longest_step(range: Range, silence_limit: Span) -> f64 {
    silence_limit.as_secs_f64().max(2.0 * range.bucket_s())
}

impl Series {
    fn fill(&mut self, buckets: &[Bucket], longest_step_s: f64) {
        let mut last: Option<&Bucket> = None;
        for bucket in buckets {
            if let Some(last) = last {
                let (then, now) = (unix(last.at), unix(bucket.at));
                // Across a reboot or a step nothing is known to be continuous either.
                let other_epoch = (last.boot_no, last.steps) != (bucket.boot_no, bucket.steps);
                if now - then > longest_step_s || other_epoch {
                    self.push((then + now) / 2.0, None, None, None);
                }
            }
            self.push(unix(bucket.at), bucket.lo_ns, bucket.hi_ns, bucket.offset_ns);
            last = Some(bucket);
        }
    }

    fn push(&mut self, t: f64, lo: Option<i64>, hi: Option<i64>, offset: Option<i64>) {
        self.t.push(t);
        self.lo_ns.push(lo);
        self.hi_ns.push(hi);
        self.offset_ns.push(offset);
    }
}

impl Mark {
    fn new(event: HostEvent) -> Self {
        Self { t: unix(event.at), kind: event.kind, summary: event.summary }
    }
}

/// Seconds since 1970, to the millisecond.
fn unix(at: At) -> f64 {
    at.to_jiff().as_millisecond() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(second: i64, steps: i32) -> Bucket {
        let at = At::from(jiff::Timestamp::from_second(second).unwrap());
        Bucket { at, lo_ns: Some(-1), hi_ns: Some(1), offset_ns: Some(0), boot_no: 1, steps }
    }

    /// Proves that silence and a change of clock epoch leave a gap, and that regular samples do not.
    #[test]
    fn gaps_stay_gaps() {
        let mut series = Series::default();
        series.fill(&[bucket(0, 0), bucket(10, 0), bucket(100, 0), bucket(110, 1)], 35.0);
        assert_eq!(series.t, [0.0, 10.0, 55.0, 100.0, 105.0, 110.0]);
        let gaps: Vec<bool> = series.lo_ns.iter().map(Option::is_none).collect();
        assert_eq!(gaps, [false, false, true, false, true, false]);
    }

    /// Proves that no range asks for more points than a chart shows.
    #[test]
    fn every_range_is_thinned() {
        for range in Range::ALL {
            assert!(f64::from(range.seconds) / range.bucket_s() <= 1000.0, "{}", range.word);
            assert_eq!(Range::of(Some(range.word)).unwrap(), range);
        }
        assert!(Range::of(Some("1y")).is_err());
    }
}
