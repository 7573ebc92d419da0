//! What the answers of one source say, over time: bounds that are certain, and an estimate that is
//! likely.

mod bounds;
mod frequency;
mod offset;
mod probation;

use alloc::collections::VecDeque;

use timebase::{Bounds, Ppb, Raw, Span, StampKind, Timestamp};

use crate::Refused;
use crate::ntp::Answer;
pub(crate) use frequency::Rate;
pub(crate) use offset::{PointEstimate, combine};

use bounds::RunningBounds;
use probation::Probation;

/// Exchanges that the frequency rests on: an hour at 64 s.
const HISTORY: usize = 64;
/// Exchanges among which the best is looked for (RFC 5905 section 10, the clock filter's eight).
const FILTER: usize = 8;

/// One accepted exchange, as the estimators need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// T4.
    pub(crate) at: Timestamp<Raw>,
    /// `raw − UTC`, assuming equal delays both ways.
    pub(crate) offset: Span,
    /// On the network, both ways.
    pub(crate) delay: Span,
    /// Λ.
    pub(crate) root_distance: Span,
    /// Width of the exchange's own bounds.
    pub(crate) width: Span,
    /// How it was stamped.
    pub(crate) stamps: StampKind,
}

/// Everything remembered of one source's answers.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    drift: Ppb,
    bounds: Option<RunningBounds>,
    history: VecDeque<Point>,
    rate: Option<Rate>,
    probation: Probation,
}

/// What an exchange did to a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It agrees with all before.
    Agrees,
    /// It and what was remembered cannot both be true; only it is remembered now.
    Contradicts,
}

impl Track {
    pub(crate) fn new(drift: Ppb) -> Self {
        Self {
            drift,
            bounds: None,
            history: VecDeque::new(),
            rate: None,
            probation: Probation::default(),
        }
    }

    /// Forgets every exchange: the raw clock has jumped against UTC.
    pub(crate) fn forget(&mut self) {
        *self = Self { probation: self.probation.clone(), ..Self::new(self.drift) };
    }

    pub(crate) fn take(&mut self, answer: &Answer) -> Result<Taken, Refused> {
        let exchange = &answer.exchange;
        let fresh = exchange.bounds(self.drift).ok_or(Refused::Causality)?;
        let at = exchange.t4;
        let narrowed = match &self.bounds {
            Some(running) => running.narrowed(fresh, at, self.drift),
            None => Some(RunningBounds::new(fresh, at)),
        };
        let taken = if narrowed.is_some() { Taken::Agrees } else { Taken::Contradicts };
        match taken {
            Taken::Agrees => self.probation.agreed(),
            Taken::Contradicts => {
                self.probation.contradicted(at);
                self.history.clear();
            }
        }
        self.bounds = Some(narrowed.unwrap_or_else(|| RunningBounds::new(fresh, at)));
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Point {
            at,
            offset: exchange.offset(),
            delay: exchange.delay(),
            root_distance: exchange.root_distance,
            width: fresh.width(),
            stamps: answer.stamps,
        });
        self.rate = frequency::rate(self.history.make_contiguous(), self.drift);
        Ok(taken)
    }

    /// What is certain about `raw − UTC` at `now`, by this source's word.
    pub(crate) fn bounds_at(&self, now: Timestamp<Raw>) -> Option<Bounds> {
        self.bounds.as_ref().map(|running| running.at(now, self.drift))
    }

    /// Whether it has contradicted itself too recently to be believed.
    pub(crate) fn contradictory(&self) -> bool {
        self.probation.running()
    }

    /// Rate of the raw oscillator against this source.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// The narrowest of the recent exchanges: how good this source is, whenever it was last asked.
    pub(crate) fn best_width(&self) -> Option<Span> {
        self.recent().map(|point| point.width).min()
    }

    /// The recent exchange with the least delay.
    pub(crate) fn best(&self) -> Option<&Point> {
        self.recent().min_by_key(|point| point.delay)
    }

    /// RMS of the recent offsets about their own trend.
    pub(crate) fn jitter(&self) -> Option<Span> {
        frequency::scatter(self.recent())
    }

    /// The likely value of `raw − UTC` at `now`.
    pub(crate) fn estimate_at(&self, now: Timestamp<Raw>) -> Option<PointEstimate> {
        let jitter = self.jitter().unwrap_or(Span::ZERO);
        offset::estimate(self.recent(), self.rate, jitter, self.drift, now)
    }

    fn recent(&self) -> impl Iterator<Item = &Point> + Clone {
        self.history.iter().rev().take(FILTER)
    }
}
