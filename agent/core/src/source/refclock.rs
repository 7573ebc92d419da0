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
            // Where the other sources are too vague to tell one second from the next, the own history,
            // which was numbered when they were not, still does.
            RefclockTime::Pulse => [window, own]
                .into_iter()
                .flatten()
                .find_map(|window| second_at(&sample.at, window, refclock.config().offset))
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
                // A refusal is counted by itself.
                let _: Result<(), Refused> =
                    self.take(&Answers { precise: None, fresh: answer }, others_heard);
            }
            Some(None) => self.missed(now, others_heard),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceOptions, Stamp};
    use timebase::{Leap, StampKind};

    fn pulse(second: i64) -> RefclockSample {
        RefclockSample {
            at: Stamp::exact(Timestamp::from_ns(second * 1_000_000_000), StampKind::Kernel),
            time: RefclockTime::Pulse,
            uncertainty: Span::ZERO,
            leap: Leap::None,
        }
    }

    /// Proves that a pulse whose history numbers the next one is not refused because the other sources
    /// are too vague to do it.
    #[test]
    fn a_vague_window_leaves_the_number_to_the_own_history() {
        let config = RefclockConfig {
            name: "PPS".into(),
            address: "/dev/pps0".into(),
            kind: SourceKind::Pps,
            reference_id: *b"PPS\0",
            poll_log2: 0,
            precision: Span::MICROSECOND,
            delay: Span::MILLISECOND,
            offset: Span::ZERO,
            lock: None,
            options: SourceOptions::default(),
        };
        let engine = EngineConfig::default();
        let start = Timestamp::from_ns(0);
        let mut source = Source::new_refclock(SourceId(0), config, &engine, start);
        let around = |radius| Some(Bounds::around(-Span::from_secs(7), Span::from_millis(radius)));
        let mut handle = |second, window| {
            let sample = pulse(second);
            let now = sample.at.latest + Span::MILLISECOND;
            let outcome = source.handle_sample(now, &sample, window, engine.max_root_distance);
            source.poll_refclock(now, None);
            outcome
        };
        assert_eq!(handle(1, around(600)), Err(Refused::Unnumbered));
        for second in 2..20 {
            assert_eq!(handle(second, around(10)), Ok(()));
        }
        for second in 20..40 {
            assert_eq!(handle(second, around(600)), Ok(()));
        }
    }
}
