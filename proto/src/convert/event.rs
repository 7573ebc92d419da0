use pb::event::Kind;
use timebase::{Event, EventKind, Span, Timestamp, Verdict};

use super::{Refusal, name};
use crate::pb;

impl From<&Event> for pb::Event {
    fn from(event: &Event) -> Self {
        let kind = match &event.kind {
            EventKind::Started { reboot } => Kind::Started(pb::Started { reboot: *reboot }),
            EventKind::Step { by } => Kind::Step(pb::Step { by_ns: by.as_ns() }),
            EventKind::Suspended { lasted } => {
                Kind::Suspended(pb::Suspended { lasted_ns: lasted.as_ns() })
            }
            EventKind::SourceChanged { source, from, to } => {
                Kind::SourceChanged(pb::SourceChanged {
                    source: source.clone(),
                    from: from.word().to_owned(),
                    to: to.word().to_owned(),
                })
            }
            EventKind::LeapChanged { to } => {
                Kind::LeapChanged(pb::LeapChanged { to: pb::Leap::from(*to).into() })
            }
            EventKind::ReportsDropped { count } => {
                Kind::ReportsDropped(pb::ReportsDropped { count: *count })
            }
        };
        Self { raw_ns: event.raw.as_ns(), realtime_ns: event.realtime.as_ns(), kind: Some(kind) }
    }
}

impl TryFrom<pb::Event> for Event {
    type Error = Refusal;

    fn try_from(wire: pb::Event) -> Result<Self, Refusal> {
        let verdict =
            |word: &str| Verdict::from_word(word).ok_or(Refusal::UnknownWord("verdict in event"));
        let kind = match wire.kind.ok_or(Refusal::Missing("event kind"))? {
            Kind::Started(e) => EventKind::Started { reboot: e.reboot },
            Kind::Step(e) => EventKind::Step { by: Span::from_ns(e.by_ns) },
            Kind::Suspended(e) => EventKind::Suspended { lasted: Span::from_ns(e.lasted_ns) },
            Kind::SourceChanged(e) => EventKind::SourceChanged {
                from: verdict(&e.from)?,
                to: verdict(&e.to)?,
                source: name(e.source, "source in event")?,
            },
            Kind::LeapChanged(e) => EventKind::LeapChanged { to: e.to().try_into()? },
            Kind::ReportsDropped(e) => EventKind::ReportsDropped { count: e.count },
        };
        Ok(Self {
            raw: Timestamp::from_ns(wire.raw_ns),
            realtime: Timestamp::from_ns(wire.realtime_ns),
            kind,
        })
    }
}
