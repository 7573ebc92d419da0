use std::collections::BTreeMap;

use agent_core::{ClockReading, ClockStatus, Engine, SendToken, SourceId, Stamp, Steer};
use timebase::{
    BootId, Discipliner, KernelClock, Ppb, Raw, Report, Seq, Span, StampKind, Timestamp, Utc,
};

use super::CROSS_READ;
use crate::naive::Naive;
use crate::server::{Arrival, Memory};
use crate::{Oscillator, Rng, SourceLink, SystemClock};

/// A packet on its way.
pub(super) struct Flying {
    pub(super) source: SourceId,
    pub(super) packet: Vec<u8>,
    /// Where it goes: to the server at this address, or home.
    pub(super) to: Option<String>,
    /// When the request was sent.
    pub(super) sent: Timestamp<Raw>,
}

/// What lives from one boot to the next.
pub(super) struct Running {
    pub(super) boot: BootId,
    pub(super) oscillator: Oscillator,
    pub(super) clock: SystemClock,
    pub(super) stamp_width: Span,
    pub(super) engine: Engine,
    /// Packets on their way, by arrival.
    pub(super) flying: BTreeMap<(Timestamp<Utc>, u64), Flying>,
    pub(super) sent: u64,
    /// What each source's server remembers of this host, and where the host believes it to be.
    pub(super) servers: Vec<(Memory, String)>,
    /// What a simple client would make of the first source's last answer.
    pub(super) naive: Option<Naive>,
    /// What the agent told the kernel to say, if it steers.
    pub(super) status: Option<ClockStatus>,
    /// How far the clock was set since the engine was told last.
    pub(super) set_by: Option<Span>,
    /// Nothing runs before this.
    pub(super) idle_until: Timestamp<Utc>,
    pub(super) next_seq: Seq,
    pub(super) next_report: Timestamp<Raw>,
}

impl Running {
    pub(super) fn reading(&mut self, at: Timestamp<Utc>) -> ClockReading {
        let raw = self.oscillator.advance(at);
        ClockReading { raw, realtime: self.clock.advance(raw), uncertainty: CROSS_READ }
    }

    /// A stamp as kernels take them: its moment lies somewhere in its width.
    pub(super) fn stamp(&self, raw: Timestamp<Raw>) -> Stamp {
        let (earliest, latest) = (raw - self.stamp_width, raw + self.stamp_width);
        Stamp { earliest, latest, kind: StampKind::Kernel }
    }

    pub(super) fn resolve(&mut self, source: SourceId, links: &[SourceLink], raw: Timestamp<Raw>) {
        let index = usize::from(source.0);
        let Some(host) = links.get(index).and_then(|link| link.address) else { return };
        let address = address(source, host);
        if self.servers[index].1 != address {
            self.servers[index] = (Memory::default(), address.clone());
        }
        self.engine.handle_resolved(raw, source, address);
    }

    pub(super) fn send(
        &mut self,
        at: Timestamp<Utc>,
        source: SourceId,
        token: SendToken,
        packet: &[u8],
        delays: &[Span],
    ) {
        let raw = self.reading(at).raw;
        let stamp = self.stamp(raw);
        self.engine.handle_sent(token, stamp);
        let Some((_, address)) = self.servers.get(usize::from(source.0)) else { return };
        for delay in delays {
            self.sent += 1;
            let to = Some(address.clone());
            let flying = Flying { source, packet: packet.to_vec(), to, sent: raw };
            self.flying.insert((at + *delay, self.sent), flying);
        }
    }

    /// A packet arrives at a server, which answers, or at the host.
    pub(super) fn arrive(
        &mut self,
        flying: Flying,
        arrival: Arrival,
        links: &[SourceLink],
        rng: &mut Rng,
        raw: Timestamp<Raw>,
    ) {
        let Flying { source, packet, to, sent } = flying;
        let Some(to) = to else {
            let stamp = self.stamp(raw);
            // A refusal is counted by the engine; the world goes on.
            let taken = self.engine.handle_datagram(raw, source, &packet, stamp);
            if taken.is_ok() && source.0 == 0 {
                self.naive = Naive::new(sent, &packet, raw);
            }
            return;
        };
        let index = usize::from(source.0);
        let Some(link) = links.get(index) else { return };
        if link.address.is_none_or(|host| address(source, host) != to) {
            return;
        }
        let memory = &mut self.servers[index].0;
        let Some((after, answer)) = link.server.answer(&packet, arrival, memory, rng) else {
            return;
        };
        for delay in link.path.home(arrival.since, rng) {
            self.sent += 1;
            let flying = Flying { source, packet: answer.clone(), to: None, sent };
            self.flying.insert((arrival.at + after + delay, self.sent), flying);
        }
    }

    /// The host sleeps from `at` on; on waking, the hardware clock sets the system clock right.
    pub(super) fn suspend(&mut self, at: Timestamp<Utc>, lasts: Span, noticed: bool) {
        self.freeze(at, lasts);
        self.clock.step(lasts);
        let reading = self.reading(self.idle_until);
        if noticed {
            self.engine.handle_suspend(reading, lasts);
        }
    }

    pub(super) fn freeze(&mut self, at: Timestamp<Utc>, lasts: Span) {
        self.reading(at);
        let wakes = at + lasts;
        self.oscillator.sleep(wakes);
        // Packets that arrive at a sleeping host are lost; requests reach their servers all the same.
        self.flying.retain(|(arrives, _), flying| *arrives > wakes || flying.to.is_some());
        self.idle_until = wakes;
    }

    /// What the kernel does when told.
    pub(super) fn obey(&mut self, steer: Steer) {
        match steer {
            Steer::Frequency(ppb) => self.clock.set_frequency(ppb),
            Steer::Step(by) => self.clock.step(by),
            Steer::Status(status) => self.status = Some(status),
        }
    }

    pub(super) fn discipliner(&self) -> Discipliner {
        if self.status.is_some() { Discipliner::Agent } else { Discipliner::Chronyd }
    }

    pub(super) fn kernel(&self) -> KernelClock {
        if let Some(status) = self.status {
            return KernelClock {
                synchronised: status.synchronised,
                max_error: status.max_error,
                estimated_error: status.estimated_error,
                frequency: Ppb::new(self.clock.frequency() as i64),
                status: if status.synchronised { 0x2001 } else { 0x2041 },
                tai_offset_s: status.tai_offset_s.unwrap_or(0),
            };
        }
        KernelClock {
            synchronised: true,
            max_error: Span::from_millis(5),
            estimated_error: Span::from_ns(20_000),
            frequency: Ppb::new(self.clock.frequency() as i64),
            status: 0x2001,
            tai_offset_s: 37,
        }
    }

    pub(super) fn report(&mut self, now: ClockReading) -> Report {
        let seq = self.next_seq;
        self.next_seq = Seq(seq.0 + 1);
        self.engine.report(now, seq, self.kernel(), self.discipliner())
    }
}

fn address(source: SourceId, host: u8) -> String {
    format!("192.0.{}.{host}:123", source.0 + 2)
}
