use timebase::{
    KernelClock, Ppb, RateBounds, Report, Seq, Span, Statistical, Timestamp, WitnessStamps,
};

use super::{MAX_EVENTS, MAX_SOURCES, Refusal, bounds, smear};
use crate::pb;

impl From<&Report> for pb::Report {
    fn from(report: &Report) -> Self {
        Self {
            seq: report.seq.0,
            steps: report.steps,
            raw_ns: report.raw.as_ns(),
            realtime_ns: report.realtime.as_ns(),
            bounds: report.bounds.map(Into::into),
            statistical: report.statistical.map(Into::into),
            frequency_ppb: report.frequency.map(Ppb::as_ppb),
            frequency_sigma_ppb: report.frequency_sigma.map(Ppb::as_ppb),
            drift_limit_ppb: report.drift_limit.as_ppb(),
            rate: Some(pb::RateBounds {
                lo_ppb: report.rate.lo().as_ppb(),
                hi_ppb: report.rate.hi().as_ppb(),
            }),
            drift_ceiling_ppb: Some(report.drift_ceiling.as_ppb()),
            smear: report.smear.word().to_owned(),
            tai_offset_s: report.tai_offset_s,
            stray_ns: report.stray.map(Span::as_ns),
            state: pb::SyncState::from(report.state).into(),
            leap: pb::Leap::from(report.leap).into(),
            discipliner: pb::Discipliner::from(report.discipliner).into(),
            kernel: Some(report.kernel.into()),
            sources: report.sources.iter().map(Into::into).collect(),
            events: report.events.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Report> for Report {
    type Error = Refusal;

    fn try_from(wire: pb::Report) -> Result<Self, Refusal> {
        if wire.sources.len() > MAX_SOURCES {
            return Err(Refusal::TooMany("sources", MAX_SOURCES));
        }
        if wire.events.len() > MAX_EVENTS {
            return Err(Refusal::TooMany("events", MAX_EVENTS));
        }
        // The database counts in signed 64 bits.
        if i64::try_from(wire.seq).is_err() {
            return Err(Refusal::Range("seq"));
        }
        if wire.drift_limit_ppb < 0 {
            return Err(Refusal::Range("drift limit"));
        }
        if wire.drift_ceiling_ppb.is_some_and(|ppb| ppb < 0) {
            return Err(Refusal::Range("drift ceiling"));
        }
        if wire.stray_ns.is_some_and(|ns| ns < 0) {
            return Err(Refusal::Range("stray"));
        }
        let drift_limit = Ppb::new(wire.drift_limit_ppb);
        Ok(Self {
            state: wire.state().try_into()?,
            leap: wire.leap().try_into()?,
            discipliner: wire.discipliner().try_into()?,
            seq: Seq(wire.seq),
            steps: wire.steps,
            stray: wire.stray_ns.map(Span::from_ns),
            raw: Timestamp::from_ns(wire.raw_ns),
            realtime: Timestamp::from_ns(wire.realtime_ns),
            bounds: wire.bounds.map(|b| bounds(b, "bounds")).transpose()?,
            statistical: wire.statistical.map(TryInto::try_into).transpose()?,
            frequency: wire.frequency_ppb.map(Ppb::new),
            frequency_sigma: wire.frequency_sigma_ppb.map(Ppb::new),
            drift_limit,
            rate: match wire.rate {
                None => RateBounds::within(drift_limit),
                Some(rate) => RateBounds::new(Ppb::new(rate.lo_ppb), Ppb::new(rate.hi_ppb))
                    .ok_or(Refusal::Range("rate"))?,
            },
            drift_ceiling: wire.drift_ceiling_ppb.map_or(drift_limit, Ppb::new),
            smear: smear(&wire.smear)?,
            tai_offset_s: wire.tai_offset_s,
            kernel: wire.kernel.map(Into::into).unwrap_or_default(),
            sources: wire.sources.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            events: wire.events.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Statistical> for pb::Statistical {
    fn from(s: Statistical) -> Self {
        Self { offset_ns: s.offset.as_ns(), sigma_ns: s.sigma.as_ns(), k: s.k, samples: s.samples }
    }
}

impl TryFrom<pb::Statistical> for Statistical {
    type Error = Refusal;

    fn try_from(wire: pb::Statistical) -> Result<Self, Refusal> {
        if !(wire.k.is_finite() && wire.k > 0.0) {
            return Err(Refusal::Range("k of the statistical window"));
        }
        if wire.sigma_ns < 0 {
            return Err(Refusal::Range("sigma of the statistical window"));
        }
        Ok(Self {
            offset: Span::from_ns(wire.offset_ns),
            sigma: Span::from_ns(wire.sigma_ns),
            k: wire.k,
            samples: wire.samples,
        })
    }
}

impl From<KernelClock> for pb::KernelClock {
    fn from(k: KernelClock) -> Self {
        Self {
            synchronised: k.synchronised,
            max_error_ns: k.max_error.as_ns(),
            estimated_error_ns: k.estimated_error.as_ns(),
            frequency_ppb: k.frequency.as_ppb(),
            status: k.status,
            tai_offset_s: k.tai_offset_s,
        }
    }
}

impl From<pb::KernelClock> for KernelClock {
    fn from(wire: pb::KernelClock) -> Self {
        Self {
            synchronised: wire.synchronised,
            max_error: Span::from_ns(wire.max_error_ns),
            estimated_error: Span::from_ns(wire.estimated_error_ns),
            frequency: Ppb::new(wire.frequency_ppb),
            status: wire.status,
            tai_offset_s: wire.tai_offset_s,
        }
    }
}

impl From<WitnessStamps> for pb::Witness {
    fn from(w: WitnessStamps) -> Self {
        Self {
            t1_realtime_ns: w.t1.as_ns(),
            t2_ns: w.t2.as_ns(),
            t3_ns: w.t3.as_ns(),
            t4_realtime_ns: w.t4.as_ns(),
        }
    }
}

impl From<pb::Witness> for WitnessStamps {
    fn from(wire: pb::Witness) -> Self {
        Self {
            t1: Timestamp::from_ns(wire.t1_realtime_ns),
            t2: Timestamp::from_ns(wire.t2_ns),
            t3: Timestamp::from_ns(wire.t3_ns),
            t4: Timestamp::from_ns(wire.t4_realtime_ns),
        }
    }
}
