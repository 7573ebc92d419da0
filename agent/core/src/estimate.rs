//! What the answers of one source say, over time: bounds that are certain, and an estimate that is
//! likely.

mod anchors;
mod bounds;
mod frequency;
mod offset;
mod oscillator;
mod probation;
mod strip;

use alloc::collections::VecDeque;

use timebase::{Bounds, Ppb, RateBounds, Raw, Span, StampKind, Timestamp};

use crate::Refused;
use crate::ntp::Answer;
pub(crate) use frequency::Rate;
pub(crate) use offset::{PointEstimate, combine};
pub(crate) use oscillator::{Oscillator, Wander};
pub(crate) use strip::{Evidence, posterior};

use anchors::Anchors;
use bounds::RunningBounds;
use frequency::Memory;
use probation::Probation;

/// Exchanges that the frequency rests on: an hour at 64 s.
const HISTORY: usize = 64;
/// Exchanges among which the best is looked for (RFC 5905 section 10, the clock filter's eight).
const FILTER: usize = 8;

/// One accepted exchange, as the estimators need it. All of `raw − UTC`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// T4.
    pub(crate) at: Timestamp<Raw>,
    /// Not below this if the server is right: T1 − T2.
    pub(crate) lo: Span,
    /// Not above this if the server is right: T4 − T3; where T3 is not known yet, by what it likely is.
    pub(crate) hi: Span,
    /// Assuming equal delays both ways.
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
    ceiling: RateBounds,
    /// The oscillator's rate as measured with all sources, and when.
    rates: (Timestamp<Raw>, RateBounds),
    /// By the ceiling alone: what proves the rate, and what a source is held to.
    certain: Option<RunningBounds>,
    /// By the measured rate.
    bounds: Option<RunningBounds>,
    wander: Wander,
    anchors: Anchors,
    /// What the latest exchanges proved of the rate at their moments.
    proofs: VecDeque<(Timestamp<Raw>, RateBounds)>,
    /// Also exchanges from before a contradiction: they show whether a rate was the cause.
    history: VecDeque<Point>,
    /// T4 of the first exchange since the last contradiction.
    believed_from: Timestamp<Raw>,
    runaway: Option<Rate>,
    memory: Memory,
    probation: Probation,
    /// Whether the newest exchange contradicts the measured rate.
    surprised: bool,
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
    pub(crate) fn new(ceiling: Ppb) -> Self {
        let ceiling = RateBounds::within(ceiling);
        Self {
            ceiling,
            rates: (Timestamp::from_ns(0), ceiling),
            certain: None,
            bounds: None,
            wander: Wander::of(ceiling.hi()),
            anchors: Anchors::new(),
            proofs: VecDeque::new(),
            history: VecDeque::new(),
            believed_from: Timestamp::from_ns(i64::MIN),
            runaway: None,
            memory: Memory { rate: None, length: 0 },
            probation: Probation::default(),
            surprised: false,
        }
    }

    /// Forgets every exchange: the raw clock has jumped against UTC.
    pub(crate) fn forget(&mut self) {
        *self = Self { probation: self.probation.clone(), ..Self::new(self.ceiling.hi()) };
    }

    pub(crate) fn take(&mut self, answer: &Answer) -> Result<Taken, Refused> {
        let exchange = &answer.exchange;
        let fresh = exchange.bounds(self.ceiling.hi()).ok_or(Refused::Causality)?;
        let at = exchange.t4;
        let taken = self.bound(fresh, at);
        match taken {
            Taken::Agrees => self.probation.agreed(),
            Taken::Contradicts => {
                self.probation.contradicted(at);
                self.believed_from = at;
            }
        }
        let held = self.believable_hold(answer);
        self.remember(Point {
            at,
            lo: Span::from_ns(exchange.t1.as_ns().saturating_sub(exchange.t2.as_ns())),
            hi: Span::from_ns(exchange.t4.as_ns().saturating_sub(exchange.t3.as_ns())) - held,
            offset: exchange.offset() - held.half(),
            delay: exchange.delay(),
            root_distance: exchange.root_distance,
            width: fresh.width(),
            stamps: answer.stamps,
        });
        let points = self.history.make_contiguous();
        let first = points.partition_point(|point| point.at < self.believed_from);
        self.memory = frequency::remember(&points[first..], self.ceiling.hi());
        // A rate beyond the limit contradicts earlier bounds before long. Without that, a fit is likely at
        // best, and one that is likely takes no vote away.
        self.runaway = if self.probation.on_record(at) {
            frequency::runaway(points, self.ceiling.hi())
        } else {
            None
        };
        Ok(taken)
    }

    /// How long the server kept a request whose sending stamp is not known yet, if that leaves a delay that
    /// was seen before: it is an estimate, and a wrong one would stay in memory.
    fn believable_hold(&self, answer: &Answer) -> Span {
        let least = self.least_delay().unwrap_or(Span::MAX);
        let leaves = answer.exchange.delay() - answer.held;
        if leaves >= least { answer.held } else { Span::ZERO }
    }

    /// Intersects with what is known. The ceiling decides whether the source contradicts itself; if only
    /// the measured rate is contradicted, it was the oscillator that changed.
    fn bound(&mut self, fresh: Bounds, at: Timestamp<Raw>) -> Taken {
        let alone = RunningBounds::new(fresh, at);
        let Some(certain) = self.certain else {
            (self.certain, self.bounds) = (Some(alone), Some(alone));
            self.prove_rate(fresh, at);
            return Taken::Agrees;
        };
        let Some(certain) = certain.narrowed(fresh, at, self.ceiling) else {
            (self.certain, self.bounds) = (Some(alone), Some(alone));
            self.anchors.clear();
            self.proofs.clear();
            self.prove_rate(fresh, at);
            return Taken::Contradicts;
        };
        self.certain = Some(certain);
        let rates = self.rates_at(at);
        let narrowed = self.bounds.and_then(|bounds| bounds.narrowed(fresh, at, rates));
        self.surprised = narrowed.is_none();
        self.bounds = narrowed.or(self.certain);
        self.prove_rate(fresh, at);
        Taken::Agrees
    }

    /// An interleaved answer tells the exact sending stamp of the exchange before: it replaces what was
    /// known of that one.
    fn remember(&mut self, point: Point) {
        if let Some(same) = self.history.iter_mut().rev().find(|known| known.at == point.at) {
            *same = point;
            return;
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(point);
    }

    /// What one exchange proves of the rate. If that is more than the rate can have wandered, it is not
    /// what was thought.
    fn prove_rate(&mut self, fresh: Bounds, at: Timestamp<Raw>) {
        match self.anchors.rate(at, fresh, self.wander, self.ceiling) {
            Some(proof) => {
                if self.proofs.len() == FILTER {
                    self.proofs.pop_front();
                }
                self.proofs.push_back((at, proof));
            }
            None => {
                self.surprised = true;
                self.anchors.clear();
                self.proofs.clear();
            }
        }
        self.anchors.push(at, fresh);
    }

    /// The interval that the recent exchanges prove the oscillator's rate at `now` to lie in.
    pub(crate) fn rate_proof(&self, now: Timestamp<Raw>) -> RateBounds {
        let aged = |(at, proof): &(Timestamp<Raw>, RateBounds)| {
            let strayed = proof.widen(self.wander.since(now - *at));
            strayed.intersect(self.ceiling).unwrap_or(self.ceiling)
        };
        let all =
            self.proofs.iter().try_fold(self.ceiling, |all, proof| all.intersect(aged(proof)));
        all.or(self.proofs.back().map(aged)).unwrap_or(self.ceiling)
    }

    /// The oscillator's rate at `now` as measured with all sources, and how far it may stray. It says
    /// nothing of the time before, for which the bounds widen as was known then.
    pub(crate) fn set_rates(&mut self, now: Timestamp<Raw>, rates: RateBounds, wander: Wander) {
        let before = self.rates_at(now);
        self.bounds = self.bounds.map(|bounds| bounds.moved_on(now, before));
        (self.rates, self.wander) = ((now, rates), wander);
    }

    /// The measured rate was wrong: what rests on it is not certain.
    pub(crate) fn distrust_rates(&mut self) {
        self.rates.1 = self.ceiling;
        self.bounds = self.certain;
    }

    fn rates_at(&self, now: Timestamp<Raw>) -> RateBounds {
        let (at, rates) = self.rates;
        let strayed = rates.widen(self.wander.since(now - at));
        strayed.intersect(self.ceiling).unwrap_or(self.ceiling)
    }

    /// Whether the newest exchange contradicts the measured rate.
    pub(crate) fn surprised(&self) -> bool {
        self.surprised
    }

    /// An exchange of the same answer contradicted it.
    pub(crate) fn note_surprise(&mut self) {
        self.surprised = true;
    }

    /// What is certain about `raw − UTC` at `now`, by this source's word.
    pub(crate) fn bounds_at(&self, now: Timestamp<Raw>) -> Option<Bounds> {
        self.bounds.as_ref().map(|running| running.at(now, self.rates_at(now)))
    }

    /// By how much its bounds widen over `elapsed`.
    pub(crate) fn grows_over(&self, elapsed: Span) -> Span {
        self.rates.1.over(elapsed).width()
    }

    /// Whether it has contradicted itself too recently to be believed.
    pub(crate) fn contradictory(&self) -> bool {
        self.probation.running()
    }

    /// Rate of the raw oscillator against this source.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.runaway.or(self.memory.rate)
    }

    /// Whether the oscillator certainly runs beyond its limit against this source.
    pub(crate) fn runs_away(&self) -> bool {
        self.runaway.is_some()
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

    /// The likely value of `raw − UTC` at `now`, where the oscillator likely runs at `rate`.
    pub(crate) fn estimate_at(&self, now: Timestamp<Raw>, rate: Rate) -> Option<PointEstimate> {
        offset::estimate(self.believed().take(self.memory.length), rate, now)
    }

    /// What its exchanges say about the oscillator's rate, which is about `near`; `None` before they say
    /// anything.
    pub(crate) fn evidence(&self, near: Rate) -> Option<Evidence> {
        self.memory.rate?;
        Some(Evidence::of(self.believed().take(self.memory.length), near.slope))
    }

    /// The least delay in memory.
    pub(crate) fn least_delay(&self) -> Option<Span> {
        self.believed().map(|point| point.delay).min()
    }

    fn recent(&self) -> impl Iterator<Item = &Point> + Clone {
        self.believed().take(FILTER)
    }

    /// Exchanges since the last contradiction, newest first.
    fn believed(&self) -> impl Iterator<Item = &Point> + Clone {
        self.history.iter().rev().take_while(|point| point.at >= self.believed_from)
    }
}
