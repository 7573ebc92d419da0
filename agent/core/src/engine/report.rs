use alloc::vec::Vec;

use timebase::{
    Bounds, Discipliner, Event, KernelClock, Report, Seq, Span, Statistical, SyncState,
};

use super::Engine;
use crate::ClockReading;
use crate::estimate::combine;
use crate::select::{Assessment, preferred};
use crate::source::Moment;
use crate::stray::Stray;

impl Engine {
    /// What is known at `now`. Changes nothing: events stay for the next [`report`](Self::report), and
    /// the number is 0.
    pub fn status(
        &self,
        now: ClockReading,
        kernel: KernelClock,
        discipliner: Discipliner,
    ) -> Report {
        let assessment = self.assess(now.raw);
        let environment = (kernel, discipliner);
        self.build(now, Seq(0), environment, &assessment, self.events.peek())
    }

    /// The report number `seq`: what is known at `now`, and what happened since the last one.
    pub fn report(
        &mut self,
        now: ClockReading,
        seq: Seq,
        kernel: KernelClock,
        discipliner: Discipliner,
    ) -> Report {
        self.handle_clock(now);
        self.reassess();
        let assessment = self.assess(now.raw);
        let events = self.events.drain();
        let since = self.stray.replace(Stray::new(now, kernel.frequency));
        let stray = since.map(|stray| stray.until(now, kernel.frequency));
        let report = self.build(now, seq, (kernel, discipliner), &assessment, events);
        let report = Report { stray, ..report };
        self.stepped = false;
        self.urgent = false;
        report
    }

    fn build(
        &self,
        now: ClockReading,
        seq: Seq,
        (kernel, discipliner): (KernelClock, Discipliner),
        assessment: &Assessment,
        events: Vec<Event>,
    ) -> Report {
        // error = realtime − UTC = (realtime − raw) + (raw − UTC)
        let to_host = now.difference();
        let leaps = assessment
            .window
            .map_or(Bounds::point(Span::ZERO), |window| self.leap_shift(window, now.raw));
        let bounds =
            assessment.window.map(|window| window.widen(now.uncertainty) + to_host + leaps);
        let rate = self.oscillator.estimate();
        let rates = self.oscillator.rates(now.raw);
        let moment = Moment {
            now: now.raw,
            to_host,
            uncertainty: now.uncertainty,
            likely: self.oscillator.likely(),
            window: assessment.window,
            leaps,
        };
        let sources = self.sources.iter().zip(&assessment.verdicts);
        Report {
            seq,
            steps: self.step_count,
            stray: None,
            raw: now.raw,
            realtime: now.realtime,
            bounds,
            statistical: bounds.and_then(|bounds| self.statistical(now, assessment, bounds, leaps)),
            frequency: rate.map(|rate| rate.ppb()),
            frequency_sigma: rate.map(|rate| rate.sigma_ppb()),
            drift_limit: rates.magnitude(),
            rate: rates,
            drift_ceiling: self.config.drift_limit,
            state: if self.stepped { SyncState::Stepped } else { assessment.state },
            leap: self.leap_warning(assessment, now.raw),
            smear: self.smear(assessment),
            tai_offset_s: self.tai_offset(assessment, now.raw),
            discipliner: if self.steering().steers() { Discipliner::Agent } else { discipliner },
            kernel,
            sources: sources.map(|(source, verdict)| source.report(*verdict, &moment)).collect(),
            events,
        }
    }

    /// The likely error, from the majority's estimates. Kept inside the bounds, which are certain.
    pub(super) fn statistical(
        &self,
        now: ClockReading,
        assessment: &Assessment,
        bounds: Bounds,
        leaps: Bounds,
    ) -> Option<Statistical> {
        // Nothing is likely while it is open whether UTC has leapt.
        let leapt = (leaps.width() == Span::ZERO).then_some(leaps.lo())?;
        let likely = self.oscillator.likely();
        let preferred = preferred(&self.sources, &assessment.majority);
        let preferred = preferred.iter().map(|i| &self.sources[*i]);
        let estimates: Vec<_> =
            preferred.filter_map(|source| source.track.estimate_at(now.raw, likely)).collect();
        let combined = combine(&estimates)?;
        Some(Statistical {
            offset: bounds.clamp(combined.offset + now.difference() + leapt),
            sigma: Span::from_secs_f64(combined.sigma_s) + now.uncertainty,
            k: self.config.sigma_k,
            samples: combined.samples,
        })
    }
}
