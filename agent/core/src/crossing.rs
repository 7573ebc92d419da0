//! How one source's answers come onto the leap-free scale, and what they tell of how it treats leaps.

use timebase::{Bounds, Exchange, Leap, LeapSecond, Ppb, Raw, SmearState, Span, Timestamp};

use crate::EngineConfig;
use crate::leap::{LeapScale, Reading};
use crate::smear::{Smears, Treatment};

/// One source's way across leap seconds.
#[derive(Clone, Debug)]
pub(crate) struct Crossing {
    scale: LeapScale,
    drift: Ppb,
    configured: Smears,
    /// What it may be doing about the leap second near by.
    smears: Smears,
    near: Option<LeapSecond>,
    /// Whether it leapt, where that is in doubt and its answers show it.
    leapt: Option<bool>,
    /// Its newest answer, as it came.
    newest: Option<Exchange<Raw>>,
}

impl Crossing {
    pub(crate) fn new(engine: &EngineConfig) -> Self {
        Self {
            scale: LeapScale::new(engine.leap_ambiguity),
            drift: engine.drift_limit,
            configured: Smears::ANY,
            smears: Smears::ANY,
            near: None,
            leapt: None,
            newest: None,
        }
    }

    /// For another server in the same place.
    pub(crate) fn anew(&self) -> Self {
        let smears = self.configured;
        Self { smears, near: None, leapt: None, newest: None, ..self.clone() }
    }

    pub(crate) fn set_scale(&mut self, scale: &LeapScale) {
        self.scale = scale.clone();
    }

    /// The configuration says how it treats leap seconds; `None`: find out.
    pub(crate) fn set_smear(&mut self, smear: Option<SmearState>) {
        self.configured = smear.map_or(Smears::ANY, Smears::only);
        self.smears = self.configured;
    }

    /// The answer on the leap-free scale; `None` if it came too near to a leap second to be a measurement.
    ///
    /// `warning` came with it, and `known` is what the source's earlier answers say of `raw −` leap-free
    /// time at the end of this exchange.
    pub(crate) fn cross(
        &mut self,
        exchange: &Exchange<Raw>,
        warning: Leap,
        known: Option<Bounds>,
    ) -> Option<Exchange<Raw>> {
        let near = self.scale.smeared_at(exchange.t3);
        if near != self.near {
            (self.near, self.leapt, self.smears) = (near, None, self.configured);
        }
        self.newest = Some(*exchange);
        if let Some(leap) = near {
            if warning == leap.warning() && exchange.t3 < leap.at {
                self.smears = self.smears.without_smears();
            }
            if let Some(known) = known {
                self.rule_out(known, exchange.t4);
            }
        }
        match (self.scale.read(exchange.t2, self.smears), self.scale.read(exchange.t3, self.smears))
        {
            (Reading::Clear(before), Reading::Clear(after)) => {
                let doubt = before.hull(after).width().half();
                Some(Exchange {
                    t2: exchange.t2 + before.midpoint(),
                    t3: exchange.t3 + after.midpoint(),
                    root_distance: exchange.root_distance.abs() + doubt,
                    ..*exchange
                })
            }
            (Reading::Doubtful(step), Reading::Doubtful(_)) => {
                self.leapt = known.and_then(|known| self.shows(exchange, known, step));
                None
            }
            _ => None,
        }
    }

    /// The window at `now` rules out what it cannot be true with.
    pub(crate) fn rule_out(&mut self, window: Bounds, now: Timestamp<Raw>) {
        let Some(newest) = self.newest.filter(|_| self.near.is_some()) else { return };
        if self.smears.single().is_none() && !self.in_doubt() {
            self.smears = self.smears.agreeing(window, |smear| {
                let shift = self.scale.read_one(newest.t3, smear)?;
                let bounds = newest.bounds(self.drift)? - shift;
                Some(bounds.aged(now - newest.t4, self.drift))
            });
        }
    }

    /// Whether its newest answer is of after a leap second that may not have come.
    pub(crate) fn in_doubt(&self) -> bool {
        let stamp = self.newest.map(|newest| newest.t3);
        let steps = Smears::only(SmearState::None);
        stamp.is_some_and(|at| matches!(self.scale.read(at, steps), Reading::Doubtful(_)))
    }

    /// Whether the answer fits the source's earlier ones with a leap between them, or without.
    fn shows(&self, exchange: &Exchange<Raw>, known: Bounds, step: Span) -> Option<bool> {
        let before = self.scale.read_one(exchange.t3, SmearState::None)?;
        let without = exchange.bounds(self.drift)? - before;
        let fits = |bounds: Bounds| bounds.intersect(known).is_some();
        match (fits(without - step), fits(without)) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// Whether a leap second that was in doubt happened, if this source steps: outer `None` if it does
    /// not, or is not known to.
    pub(crate) fn leapt(&self) -> Option<Option<bool>> {
        (self.smears.single() == Some(SmearState::None)).then_some(self.leapt)
    }

    /// What it does at the time of its newest answer.
    pub(crate) fn treatment(&self) -> Treatment {
        let Some(stamp) = self.newest.filter(|_| self.near.is_some()).map(|newest| newest.t3)
        else {
            return Treatment::Steps;
        };
        let under_way = |smear: SmearState| {
            let done = self.scale.progress(stamp, smear);
            Span::ZERO < done && done < Span::SECOND
        };
        let (mut some, mut all) = (false, true);
        for smear in self.smears.kinds() {
            some |= under_way(smear);
            all &= under_way(smear);
        }
        match (some, all) {
            (false, _) => Treatment::Steps,
            (_, true) => Treatment::Smears,
            _ => Treatment::Unknown,
        }
    }

    /// How it treats leap seconds, as far as is known.
    pub(crate) fn smear(&self) -> SmearState {
        self.smears.single().unwrap_or_default()
    }
}
