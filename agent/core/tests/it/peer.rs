//! One engine and one server that knows keys, NTS and the interleaved mode, packet by packet.

use std::collections::BTreeMap;

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use agent_core::ntp::{Mode, Packet, Trailer, from_utc};
use agent_core::nts::{AeadId, NtsKeys};
use agent_core::{
    Action, ClockReading, Engine, EngineConfig, Refused, SendToken, SourceConfig, SourceId, Stamp,
};
use timebase::{
    Discipliner, KernelClock, Leap, Raw, Report, Seq, SourceReport, Span, StampKind, Timestamp, Utc,
};

use crate::bench::START;

/// The path, each way.
pub(crate) const FLIGHT: Span = Span::from_ns(100_000);
/// Between the server's transmit stamp and the moment its answer leaves.
pub(crate) const HASTE: Span = Span::from_ns(40_000);
/// How long the server keeps a request.
pub(crate) const KEPT: Span = Span::from_ns(60_000);

/// A server on true time whose transmit stamps are too early, as a program's are.
#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) interleaves: bool,
    /// When answers really left, by receive field.
    pub(crate) memory: BTreeMap<u64, u64>,
    pub(crate) nts: Option<NtsPeer>,
}

/// The server's side of NTS; its cookies are numbers.
#[derive(Default)]
pub(crate) struct NtsPeer {
    pub(crate) issued: u8,
    pub(crate) shown: Vec<u8>,
    /// Whether its cookies' key was lost.
    pub(crate) forgetful: bool,
}

pub(crate) const C2S: [u8; 32] = [0xc2; 32];
pub(crate) const S2C: [u8; 32] = [0x2c; 32];
pub(crate) const COOKIE: usize = 100;

fn push(packet: &mut Vec<u8>, kind: u16, body: &[u8]) {
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&u16::try_from(body.len() + 4).expect("a short field").to_be_bytes());
    packet.extend_from_slice(body);
}

impl NtsPeer {
    fn cookie(&mut self) -> Vec<u8> {
        self.issued += 1;
        vec![self.issued; COOKIE]
    }

    pub(crate) fn keys(&mut self) -> NtsKeys {
        self.forgetful = false;
        NtsKeys {
            aead: AeadId::AesSivCmac256,
            c2s: C2S.to_vec(),
            s2c: S2C.to_vec(),
            cookies: (0..8).map(|_| self.cookie()).collect(),
            server: None,
            port: None,
        }
    }

    /// Seals an answer; panics on a request that is not as the RFC has it.
    fn seal(&mut self, request: &[u8], header: &mut Packet) -> Vec<u8> {
        let fields = Trailer::parse(request).expect("our own request").fields;
        let kinds: Vec<u16> = fields.iter().map(|field| field.kind).collect();
        assert_eq!((kinds[0], kinds[1], kinds[kinds.len() - 1]), (0x104, 0x204, 0x404));
        let wanted = kinds.iter().filter(|kind| matches!(kind, 0x204 | 0x304)).count();
        assert_eq!(wanted, kinds.len() - 2);
        self.shown.push(fields[1].body[0]);
        let seal = fields[fields.len() - 1];
        assert_eq!(seal.body[..4], [0, 16, 0, 16]);
        let mut siv = Aes128Siv::new_from_slice(&C2S).expect("32 octets");
        let nonce = &seal.body[4..20];
        let opened = siv.decrypt([&request[..seal.at], nonce], &seal.body[20..]);
        assert_eq!(opened.expect("the request's seal"), []);
        if self.forgetful {
            (header.stratum, header.reference_id) = (0, u32::from_be_bytes(*b"NTSN"));
        }
        let mut answer = header.encode().to_vec();
        push(&mut answer, 0x104, fields[0].body);
        if self.forgetful {
            return answer;
        }
        let mut sealed = Vec::new();
        for _ in 0..wanted {
            let cookie = self.cookie();
            push(&mut sealed, 0x204, &cookie);
        }
        let mut siv = Aes128Siv::new_from_slice(&S2C).expect("32 octets");
        let nonce = [self.issued; 16];
        let sealed = siv.encrypt([&answer[..], &nonce], &sealed).expect("room");
        let mut body = vec![0, 16];
        body.extend_from_slice(&u16::try_from(sealed.len()).expect("a short field").to_be_bytes());
        body.extend_from_slice(&nonce);
        body.extend_from_slice(&sealed);
        push(&mut answer, 0x404, &body);
        answer
    }
}

impl Peer {
    pub(crate) fn interleaving() -> Self {
        Self { interleaves: true, ..Self::default() }
    }

    pub(crate) fn nts() -> Self {
        Self { interleaves: true, nts: Some(NtsPeer::default()), ..Self::default() }
    }

    fn header(&mut self, request: &Packet, arrived: Timestamp<Utc>) -> Packet {
        let receive = from_utc(arrived);
        let left = self.memory.get(&request.origin).copied().filter(|_| self.interleaves);
        self.memory.insert(receive, from_utc(arrived + KEPT));
        let (origin, transmit) = match left {
            Some(left) if request.receive != request.transmit => (request.receive, left),
            _ => (request.transmit, from_utc(arrived + KEPT - HASTE)),
        };
        Packet {
            leap: Leap::None,
            mode: Mode::Server,
            stratum: 1,
            poll: 0,
            precision: -30,
            root_delay: 0,
            root_dispersion: 0,
            reference_id: u32::from_be_bytes(*b"GPS\0"),
            reference: receive,
            origin,
            receive,
            transmit,
        }
    }

    /// The answer to a request that arrives then.
    pub(crate) fn answer(&mut self, request: &[u8], arrived: Timestamp<Utc>) -> Vec<u8> {
        let mut header = self.header(&Packet::decode(request).expect("our own request"), arrived);
        match &mut self.nts {
            Some(nts) => nts.seal(request, &mut header),
            None => header.encode().to_vec(),
        }
    }
}

/// A request off the wire.
pub(crate) struct Request {
    pub(crate) token: SendToken,
    pub(crate) packet: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self) -> Packet {
        Packet::decode(&self.packet).expect("our own request")
    }
}

/// An engine whose clocks are on true time, with one source.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) now: Timestamp<Utc>,
    pub(crate) source: SourceId,
    pub(crate) peer: Peer,
    /// Exchanges of keys asked for.
    pub(crate) exchanges: u32,
}

impl Rig {
    pub(crate) fn new(peer: Peer, config: SourceConfig) -> Self {
        let mut rig = Self {
            engine: Engine::new(EngineConfig::default(), [5; 32], reading(START)),
            now: START,
            source: SourceId(0),
            peer,
            exchanges: 0,
        };
        let config = SourceConfig {
            name: "ntp.example.net".into(),
            min_poll_log2: 4,
            max_poll_log2: 6,
            ..config
        };
        rig.source = rig.engine.add_source(raw(START), config);
        rig.engine.handle_resolved(raw(START), rig.source, "192.0.2.1:123".into());
        rig
    }

    /// What comes next, at the time it comes; keys are exchanged on the way if there is somebody to.
    pub(crate) fn next(&mut self) -> Action {
        for _ in 0..100_000 {
            match self.engine.poll_action() {
                Some(Action::ExchangeKeys { source }) => {
                    self.exchanges += 1;
                    let Some(nts) = &mut self.peer.nts else {
                        return Action::ExchangeKeys { source };
                    };
                    let keys = nts.keys();
                    self.engine.handle_keys(raw(self.now), source, keys);
                }
                Some(Action::Resolve(_)) => {}
                Some(action) => return action,
                None => {
                    let next = self.engine.next_timeout().expect("a plan");
                    self.now = self.now.max(Timestamp::from_ns(next.as_ns()));
                    self.engine.handle_timeout(raw(self.now));
                }
            }
        }
        panic!("nothing happens");
    }

    /// The next request, as it is sent.
    pub(crate) fn request(&mut self) -> Request {
        match self.next() {
            Action::Send { token, packet, .. } => Request { token, packet },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn sent(&mut self, token: SendToken) {
        self.engine.handle_sent(token, stamp(self.now));
    }

    /// Sends the next request; its answer is at hand when this returns, and not yet delivered.
    pub(crate) fn ask(&mut self) -> Vec<u8> {
        let Request { token, packet } = self.request();
        self.sent(token);
        let answer = self.peer.answer(&packet, self.now + FLIGHT);
        self.now = self.now + FLIGHT + KEPT + FLIGHT;
        answer
    }

    pub(crate) fn deliver(&mut self, answer: &[u8]) -> Result<(), Refused> {
        let (now, source) = (raw(self.now), self.source);
        let outcome = self.engine.handle_datagram(now, source, answer, stamp(self.now));
        assert!(
            self.report().bounds.is_none_or(|bounds| bounds.contains(Span::ZERO)),
            "the window is true after every packet"
        );
        outcome
    }

    /// One whole poll.
    pub(crate) fn exchange(&mut self) -> Result<(), Refused> {
        let answer = self.ask();
        self.deliver(&answer)
    }

    /// One request, and no answer.
    pub(crate) fn lose(&mut self) -> Packet {
        let request = self.request();
        let header = request.header();
        self.sent(request.token);
        self.peer.answer(&request.packet, self.now + FLIGHT);
        header
    }

    pub(crate) fn report(&mut self) -> Report {
        let clock = reading(self.now);
        self.engine.report(clock, Seq(1), KernelClock::default(), Discipliner::None)
    }

    pub(crate) fn source(&mut self) -> SourceReport {
        self.report().sources.remove(0)
    }
}

fn raw(at: Timestamp<Utc>) -> Timestamp<Raw> {
    Timestamp::from_ns(at.as_ns())
}

fn stamp(at: Timestamp<Utc>) -> Stamp {
    Stamp::exact(raw(at), StampKind::Kernel)
}

fn reading(at: Timestamp<Utc>) -> ClockReading {
    let realtime = Timestamp::from_ns(at.as_ns());
    ClockReading { raw: raw(at), realtime, uncertainty: Span::ZERO }
}
