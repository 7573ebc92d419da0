use timebase::{Bounds, Raw, SourceKind, Span, Timestamp, Utc};

use super::Source;
use crate::ntp::Answers;
use crate::refclock::{Refclock, second_at};
use crate::{
    EngineConfig, RefclockConfig, RefclockSample, RefclockTime, Refused, SourceConfig, SourceId,
};

impl Source {
    pub(crate) fn new_refclock(
        id: SourceId,
        config: RefclockConfig,
        engine: &EngineConfig,
        now: Timestamp<Raw>,
    ) -> Self {
        let asked = SourceConfig {
            name: config.name.clone(),
            min_poll_log2: config.poll_log2,
            max_poll_log2: config.poll_log2,
            iburst: false,
            options: config.options,
            ..SourceConfig::default()
        };
        Self {
            refclock: Some(Refclock::new(config, now)),
            lookup_at: None,
            ..Self::new(id, asked, engine, now)
        }
    }

    /// The name of the source that numbers its pulses.
    pub(crate) fn lock(&self) -> Option<&str> {
        self.refclock.as_ref()?.config().lock.as_deref()
    }

    /// Whether its samples say which second it is.
    pub(crate) fn is_numbered(&self) -> bool {
        let kind = self.refclock.as_ref().map(|refclock| refclock.config().kind);
        kind != Some(SourceKind::Pps)
    }

    /// Whether a sample waits for the end of its interval, which has come.
    pub(crate) fn has_sample(&self, now: Timestamp<Raw>) -> bool {
        self.refclock.as_ref().is_some_and(|refclock| refclock.has_sample(now))
    }

    /// A sample of the clock; `window` is what the numbered sources say of `raw −` leap-free time then.
    pub(crate) fn handle_sample(
        &mut self,
        now: Timestamp<Raw>,
        sample: &RefclockSample,
        window: Option<Bounds>,
        max_root_distance: Span,
    ) -> Result<(), Refused> {
        let outcome = self.filter(sample, window, max_root_distance);
        if let Err(refused) = outcome {
            self.refuse(refused, now);
        }
        outcome
    }

    fn filter(
        &mut self,
        sample: &RefclockSample,
        window: Option<Bounds>,
        max_root_distance: Span,
    ) -> Result<(), Refused> {
        let own = self.track.bounds_at(sample.at.latest).filter(|_| !self.track.contradictory());
        let refclock = self.refclock.as_mut().ok_or(Refused::UnknownSource)?;
        if sample.at.latest < sample.at.earliest {
            return Err(Refused::Causality);
        }
        if refclock.root_distance(sample.uncertainty) > max_root_distance {
            return Err(Refused::RootDistance);
        }
        let utc: Timestamp<Utc> = match sample.time {
            RefclockTime::Utc(utc) => utc,
            RefclockTime::Pulse => window
                .or(own)
                .and_then(|window| second_at(&sample.at, window, refclock.config().offset))
                .ok_or(Refused::Unnumbered)?,
        };
        refclock.take(sample, utc);
        Ok(())
    }

    /// The end of a poll interval, if it has come.
    pub(super) fn poll_refclock(
        &mut self,
        now: Timestamp<Raw>,
        others_heard: Option<Timestamp<Raw>>,
    ) {
        let polled = self.refclock.as_mut().and_then(|refclock| refclock.poll(now));
        match polled {
            Some(Some(answer)) => {
                let taken = self.take(&Answers { precise: None, fresh: answer });
                if let Err(refused) = taken {
                    self.refuse(refused, now);
                }
            }
            Some(None) => self.missed(now, others_heard),
            None => {}
        }
    }
}
