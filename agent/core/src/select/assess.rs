use alloc::vec::Vec;

use timebase::{Bounds, Leap, Raw, Span, SyncState, Timestamp, Unusable, Verdict};

use super::region_tolerating;
use crate::EngineConfig;
use crate::smear::{Treatment, outvoted};
use crate::source::Source;

/// Without a window for this long after the start, a host is free-running rather than starting: three
/// requests of a source at 16 s may have been lost.
const GRACE: Span = Span::from_secs(60);
/// The selected source stays until another is narrower than 3/4 of it, lest every poll changes it.
const STAYS: (i64, i64) = (3, 4);
/// A source this many times as wide as the narrowest adds nothing …
const OUTLIER_FROM: i64 = 6;
/// … until it is below this many times.
const OUTLIER_UNTIL: i64 = 4;

/// What follows from all sources together at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Assessment {
    /// What is certain about `raw − UTC`.
    pub(crate) window: Option<Bounds>,
    /// One per source.
    pub(crate) verdicts: Vec<Verdict>,
    /// Indices of the sources that the window rests on.
    pub(crate) majority: Vec<usize>,
    /// Steps aside.
    pub(crate) state: SyncState,
    pub(crate) leap: Leap,
}

/// Judges every source at `now`.
///
/// Sources that answer vote with their bounds. One that is silent but has not had its chance yet (see
/// [`Source::has_had_its_chance`]) votes too: with what is remembered of it, which widens but stays
/// true, or for anything at all. Without that, the first to answer after a start or an outage would be
/// believed alone, and it may be the wrong one. When nobody answers, all that is remembered votes
/// (holdover). A source that contradicted itself has no vote in any case.
pub(crate) fn assess(
    sources: &[Source],
    config: &EngineConfig,
    started: Timestamp<Raw>,
    now: Timestamp<Raw>,
) -> Assessment {
    let mut verdicts: Vec<Verdict> =
        sources.iter().map(|s| s.standing().map_or(Verdict::Combined, |verdict| verdict)).collect();
    let beyond_limit = beyond_limit(sources);
    for (verdict, source) in verdicts.iter_mut().zip(sources) {
        if source.track.runs_away() {
            let why = if beyond_limit { Unusable::Oscillator } else { Unusable::Contradictory };
            *verdict = Verdict::Unusable(why);
        }
    }
    let answering = sources.iter().any(|source| source.standing().is_none());
    let treatment = |source: &Source| match source.standing() {
        Some(_) if answering => Treatment::Unknown,
        _ => source.crossing.treatment(),
    };
    let smear_apart = outvoted(&sources.iter().map(treatment).collect::<Vec<_>>());
    for (verdict, _) in verdicts.iter_mut().zip(&smear_apart).filter(|(_, apart)| **apart) {
        *verdict = Verdict::Unusable(Unusable::Smear);
    }
    for (verdict, source) in verdicts.iter_mut().zip(sources) {
        if source.options().noselect && *verdict == Verdict::Combined {
            *verdict = Verdict::Unusable(Unusable::Noselect);
        }
    }
    let votes: Vec<(usize, Bounds)> = sources
        .iter()
        .enumerate()
        .filter(|(i, _)| !beyond_limit && !smear_apart[*i])
        .filter_map(|(i, source)| Some((i, vote(source, answering, now)?)))
        .collect();
    let region = region_tolerating(&decisive(sources, &votes), config.faults);
    let mut window = region.as_ref().and_then(super::Region::hull).filter(|hull| hull.is_bounded());
    let mut majority = Vec::new();
    for (i, bounds) in votes {
        let heard = sources[i].standing().is_none();
        match region.as_ref().map(|region| region.touches(bounds)) {
            Some(true) if heard || !answering => majority.push(i),
            Some(false) if heard => verdicts[i] = Verdict::Falseticker,
            None if heard => verdicts[i] = Verdict::Unusable(Unusable::NoMajority),
            _ => {}
        }
    }
    if answering && !enough(sources, &majority, config) {
        window = None;
        for i in majority.drain(..) {
            verdicts[i] = Verdict::Unusable(Unusable::MinSources);
        }
    } else if answering {
        rank(sources, &majority, &mut verdicts);
    }
    let state = state(window, answering, config, now - started);
    let leap = leap(sources, &majority);
    Assessment { window, verdicts, majority, state, leap }
}

/// What a source says about `raw − UTC`, if it has a vote; `answering`: some source answers.
fn vote(source: &Source, answering: bool, now: Timestamp<Raw>) -> Option<Bounds> {
    let out = source.options().noselect;
    if out || source.track.contradictory() || source.track.runs_away() {
        return None;
    }
    let remembered = source.track.bounds_at(now);
    match source.standing() {
        None => remembered,
        Some(_) if !answering => remembered,
        Some(Verdict::Unreachable | Verdict::Unusable(Unusable::NoAnswerYet)) => {
            (!source.has_had_its_chance()).then(|| remembered.unwrap_or(Bounds::UNBOUNDED))
        }
        Some(_) => None,
    }
}

/// The votes that make the region: those of trusted sources, if there are any; the others are measured
/// by it.
fn decisive(sources: &[Source], votes: &[(usize, Bounds)]) -> Vec<Bounds> {
    let of = |trusted: bool| -> Vec<Bounds> {
        let by = |(i, _): &&(usize, Bounds)| sources[*i].options().trust || !trusted;
        votes.iter().filter(by).map(|(_, bounds)| *bounds).collect()
    };
    let trusted = of(true);
    if trusted.is_empty() { of(false) } else { trusted }
}

/// Whether as many sources agree as the configuration asks for, and one of those that it requires.
fn enough(sources: &[Source], majority: &[usize], config: &EngineConfig) -> bool {
    let required = sources.iter().any(|source| source.options().require);
    let met = majority.iter().any(|i| sources[*i].options().require);
    majority.len() >= config.min_sources && (met || !required)
}

/// The sources of the majority to estimate from: the preferred ones, if any of them is there.
pub(crate) fn preferred(sources: &[Source], majority: &[usize]) -> Vec<usize> {
    let preferred: Vec<_> =
        majority.iter().copied().filter(|i| sources[*i].options().prefer).collect();
    if preferred.is_empty() { majority.to_vec() } else { preferred }
}

/// Whether most sources whose rate is known agree that this host's oscillator breaks its limit. Then no
/// bounds can be aged, and there is no window. One such source among others has a clock that runs away.
fn beyond_limit(sources: &[Source]) -> bool {
    let known = sources.iter().filter(|source| source.track.rate().is_some()).count();
    sources.iter().filter(|source| source.track.runs_away()).count() * 2 > known
}

fn state(window: Option<Bounds>, answering: bool, config: &EngineConfig, up: Span) -> SyncState {
    match window {
        Some(_) if answering => SyncState::Synchronised,
        Some(window) if window.width() <= config.max_window => SyncState::Holdover,
        None if up < GRACE => SyncState::Starting,
        _ => SyncState::FreeRunning,
    }
}

/// Selected, combined or outlier, by each source's best recent exchange (not by its bounds now, which
/// grow until the next poll and would make every poll a change).
fn rank(sources: &[Source], majority: &[usize], verdicts: &mut [Verdict]) {
    let width = |i: usize| sources[i].track.best_width().unwrap_or(Span::MAX);
    let candidates = preferred(sources, majority);
    let Some(&narrowest) = candidates.iter().min_by_key(|i| width(**i)) else { return };
    let incumbent = candidates.iter().copied().find(|i| sources[*i].verdict == Verdict::Selected);
    let (part, whole) = STAYS;
    let selected = incumbent
        .filter(|i| width(narrowest).times(whole) >= width(*i).times(part))
        .unwrap_or(narrowest);
    for &i in majority {
        let limit =
            if sources[i].verdict == Verdict::Outlier { OUTLIER_UNTIL } else { OUTLIER_FROM };
        verdicts[i] = if i == selected {
            Verdict::Selected
        } else if width(i) > width(narrowest).times(limit) {
            Verdict::Outlier
        } else {
            Verdict::Combined
        };
    }
}

/// The warning that more than half of the majority gives.
fn leap(sources: &[Source], majority: &[usize]) -> Leap {
    let warns = |leap: Leap| {
        let count = majority.iter().filter(|i| sources[**i].leap() == leap).count();
        count * 2 > majority.len()
    };
    [Leap::Insert, Leap::Delete].into_iter().find(|leap| warns(*leap)).unwrap_or_default()
}
