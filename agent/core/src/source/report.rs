use alloc::string::ToString;

use timebase::{
    Authentication, Bounds, Raw, SourceKind, SourceReport, Span, StampKind, Timestamp, Verdict,
};

use super::Source;
use crate::AuthConfig;
use crate::estimate::Rate;
use crate::ntp::Packet;

/// What sources are reported against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp<Raw>,
    /// `realtime − raw`, and how well it is known.
    pub(crate) to_host: Span,
    pub(crate) uncertainty: Span,
    pub(crate) likely: Rate,
    /// Of `raw −` leap-free time, by the majority.
    pub(crate) window: Option<Bounds>,
    /// Leap-free time less UTC.
    pub(crate) leaps: Bounds,
}

impl Source {
    /// What this source has to say at a moment.
    pub(crate) fn report(&self, verdict: Verdict, moment: &Moment) -> SourceReport {
        let header = self.client.header();
        let best = self.track.best();
        let &Moment { now, to_host, uncertainty, likely, window, leaps } = moment;
        let estimate = self.track.estimate_at(now, likely);
        let mut report = SourceReport {
            kind: SourceKind::Ntp,
            name: self.config.name.clone(),
            address: self.address.to_string(),
            verdict,
            reach: self.client.reach(),
            poll_log2: self.client.poll_log2(),
            bounds: self
                .track
                .bounds_at(now)
                .map(|bounds| bounds.widen(uncertainty) + to_host + leaps),
            // Before the rate is known the estimate may stray; its own bounds are certain.
            offset: estimate.map(|estimate| {
                let certain = self.track.bounds_at(now).unwrap_or(Bounds::UNBOUNDED);
                certain.clamp(estimate.offset) + to_host + leaps.midpoint()
            }),
            delay: best.map(|point| point.delay),
            jitter: self.track.jitter(),
            stratum: header.map_or(0, |header| header.stratum),
            reference_id: header.map_or(0, |header| header.reference_id),
            root_delay: header.map_or(Span::ZERO, Packet::root_delay),
            root_dispersion: header.map_or(Span::ZERO, Packet::root_dispersion),
            leap: self.leap(),
            authentication: match self.config.auth {
                AuthConfig::None => Authentication::None,
                AuthConfig::Key(_) => Authentication::Mac,
                AuthConfig::Nts => Authentication::Nts,
            },
            interleaved: self.client.interleaved(),
            smear: self.crossing.smear(),
            least_delay: self.track.least_delay(),
            asymmetry: estimate.zip(window).map(|(estimate, window)| {
                // The middle is off by half of what one way is longer than the other.
                let off = window - estimate.offset;
                off + off
            }),
            stamps: best.map_or(StampKind::User, |point| point.stamps),
            accepted: self.accepted,
            refused: self.refused,
            frequency: self.track.rate().map(|rate| rate.ppb()),
        };
        if let Some(refclock) = &self.refclock {
            refclock.describe(&mut report);
        }
        report
    }
}
