use timebase::{Ppb, SourceKind, SourceReport, Span, Verdict};

use super::{Refusal, bounds, name, smear};
use crate::pb;

impl From<&SourceReport> for pb::Source {
    fn from(source: &SourceReport) -> Self {
        let detail = pb::source::Detail::Ntp(pb::NtpDetail {
            stratum: source.stratum.into(),
            reference_id: source.reference_id,
            root_delay_ns: source.root_delay.as_ns(),
            root_dispersion_ns: source.root_dispersion.as_ns(),
            leap: pb::Leap::from(source.leap).into(),
        });
        Self {
            name: source.name.clone(),
            address: source.address.clone(),
            verdict: source.verdict.word().to_owned(),
            reach: source.reach.into(),
            poll_log2: source.poll_log2.into(),
            bounds: source.bounds.map(Into::into),
            offset_ns: source.offset.map(Span::as_ns),
            delay_ns: source.delay.map(Span::as_ns),
            jitter_ns: source.jitter.map(Span::as_ns),
            authentication: pb::Authentication::from(source.authentication).into(),
            stamps: pb::StampKind::from(source.stamps).into(),
            accepted: source.accepted,
            refused: source.refused,
            frequency_ppb: source.frequency.map(Ppb::as_ppb),
            kind: source.kind.word().to_owned(),
            interleaved: source.interleaved,
            smear: source.smear.word().to_owned(),
            least_delay_ns: source.least_delay.map(Span::as_ns),
            asymmetry: source.asymmetry.map(Into::into),
            detail: Some(detail),
        }
    }
}

impl TryFrom<pb::Source> for SourceReport {
    type Error = Refusal;

    fn try_from(wire: pb::Source) -> Result<Self, Refusal> {
        let pb::source::Detail::Ntp(ntp) = wire.detail.ok_or(Refusal::Missing("source detail"))?;
        Ok(Self {
            kind: kind(&wire.kind)?,
            interleaved: wire.interleaved,
            smear: smear(&wire.smear)?,
            least_delay: wire.least_delay_ns.map(Span::from_ns),
            asymmetry: wire.asymmetry.map(|b| bounds(b, "asymmetry")).transpose()?,
            verdict: Verdict::from_word(&wire.verdict).ok_or(Refusal::UnknownWord("verdict"))?,
            authentication: wire.authentication().try_into()?,
            stamps: wire.stamps().try_into()?,
            name: name(wire.name, "source name")?,
            address: name(wire.address, "source address")?,
            reach: wire.reach.try_into().map_err(|_| Refusal::Range("reach"))?,
            poll_log2: wire.poll_log2.try_into().map_err(|_| Refusal::Range("poll"))?,
            bounds: wire.bounds.map(|b| bounds(b, "source bounds")).transpose()?,
            offset: wire.offset_ns.map(Span::from_ns),
            delay: wire.delay_ns.map(Span::from_ns),
            jitter: wire.jitter_ns.map(Span::from_ns),
            stratum: ntp.stratum.try_into().map_err(|_| Refusal::Range("stratum"))?,
            reference_id: ntp.reference_id,
            root_delay: Span::from_ns(ntp.root_delay_ns),
            root_dispersion: Span::from_ns(ntp.root_dispersion_ns),
            leap: ntp.leap().try_into()?,
            accepted: wire.accepted,
            refused: wire.refused,
            frequency: wire.frequency_ppb.map(Ppb::new),
        })
    }
}

/// An agent from before there were other kinds says nothing: it knows only NTP.
fn kind(word: &str) -> Result<SourceKind, Refusal> {
    if word.is_empty() {
        return Ok(SourceKind::Ntp);
    }
    SourceKind::from_word(word).ok_or(Refusal::UnknownWord("source kind"))
}
