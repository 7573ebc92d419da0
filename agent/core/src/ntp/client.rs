use alloc::vec::Vec;

use timebase::{Exchange, Leap, Raw, Span, StampKind, Timestamp};

use super::poll::Poll;
use super::{Kiss, Mode, Packet, to_utc};
use crate::{Random, Refused, SendToken, SourceConfig, SourceId, Stamp};

/// An answer that comes later than this is as good as lost: its bounds would be a second wide.
const ANSWER_WITHIN: Span = Span::SECOND;

/// The client's side of one association: at most one request is out, and exactly one answer to it is
/// taken.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    id: SourceId,
    poll: Poll,
    max_root_distance: Span,
    request: Option<Request>,
    serial: u64,
    /// When to ask next, while no request is out.
    next: Timestamp<Raw>,
    denied: bool,
    header: Option<Packet>,
}

#[derive(Clone, Debug)]
struct Request {
    serial: u64,
    nonce: u64,
    asked: Timestamp<Raw>,
    sent: Option<Stamp>,
    /// An answer that overtook the word that its request was sent.
    answer: Option<(Packet, Stamp)>,
}

/// An exchange with the header that came with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) exchange: Exchange<Raw>,
    pub(crate) stamps: StampKind,
}

impl Client {
    pub(crate) fn new(
        id: SourceId,
        config: &SourceConfig,
        max_root_distance: Span,
        now: Timestamp<Raw>,
    ) -> Self {
        Self {
            id,
            poll: Poll::new(config.min_poll_log2, config.max_poll_log2, config.iburst),
            max_root_distance,
            request: None,
            serial: 0,
            next: now,
            denied: false,
            header: None,
        }
    }

    pub(crate) fn reach(&self) -> u8 {
        self.poll.reach()
    }

    pub(crate) fn poll_log2(&self) -> i8 {
        self.poll.current()
    }

    pub(crate) fn unreachable(&self) -> bool {
        self.poll.unreachable()
    }

    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// The newest answer's header, whatever was thought of it.
    pub(crate) fn header(&self) -> Option<&Packet> {
        self.header.as_ref()
    }

    /// Ask more closely for a while, beginning now.
    pub(crate) fn hurry(&mut self, now: Timestamp<Raw>) {
        self.poll.hurry();
        self.next = self.next.min(now + Span::MILLISECOND);
    }

    /// The raw clock stood still for a while: an answer to the request that is out would be measured too
    /// short. Ask anew; whatever still comes of that request is unexpected.
    pub(crate) fn abandon(&mut self, now: Timestamp<Raw>) {
        self.request = None;
        self.hurry(now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp<Raw>> {
        if self.denied {
            return None;
        }
        Some(self.request.as_ref().map_or(self.next, |request| self.deadline(request)))
    }

    /// Whether the request that was out has just been given up.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp<Raw>, random: &mut Random) -> bool {
        let overdue = self.request.as_ref().is_some_and(|request| self.deadline(request) <= now);
        if overdue {
            self.give_up(now, random);
        }
        overdue
    }

    /// The next request, if it is time.
    pub(crate) fn poll_request(
        &mut self,
        now: Timestamp<Raw>,
        random: &mut Random,
    ) -> Option<(SendToken, Vec<u8>)> {
        if self.denied || self.request.is_some() || self.next > now {
            return None;
        }
        self.serial += 1;
        // Zero would make a server's zeroed origin field look right.
        let nonce = random.next_u64() | 1;
        self.request =
            Some(Request { serial: self.serial, nonce, asked: now, sent: None, answer: None });
        Some((SendToken::new(self.id, self.serial), Packet::request(nonce).encode().to_vec()))
    }

    pub(crate) fn handle_sent(
        &mut self,
        token: &SendToken,
        sent: Stamp,
        random: &mut Random,
    ) -> Option<Result<Answer, Refused>> {
        let request = self.request.as_mut().filter(|r| token.is_serial(r.serial))?;
        request.sent = Some(sent);
        let (packet, received) = request.answer?;
        Some(self.complete(&packet, sent, received, random))
    }

    /// Whether the request was still out, and has been given up.
    pub(crate) fn handle_send_failed(
        &mut self,
        now: Timestamp<Raw>,
        token: &SendToken,
        random: &mut Random,
    ) -> bool {
        let was_out = self.request.as_ref().is_some_and(|r| token.is_serial(r.serial));
        if was_out {
            self.give_up(now, random);
        }
        was_out
    }

    /// `Ok(None)`: taken, but the word that the request was sent has to come first.
    pub(crate) fn handle_datagram(
        &mut self,
        bytes: &[u8],
        received: Stamp,
        random: &mut Random,
    ) -> Result<Option<Answer>, Refused> {
        let packet = Packet::decode(bytes)?;
        if packet.mode != Mode::Server {
            return Err(Refused::Mode);
        }
        let request = self.request.as_mut().ok_or(Refused::Unexpected)?;
        if packet.origin != request.nonce {
            return Err(Refused::Origin);
        }
        if request.answer.is_some() {
            return Err(Refused::Unexpected);
        }
        // Stratum 0 only counts after the origin check: nobody else can silence a server for us.
        if packet.stratum == 0 {
            return Err(Refused::Kiss(self.kissed(&packet, random)));
        }
        match request.sent {
            Some(sent) => self.complete(&packet, sent, received, random).map(Some),
            None => {
                request.answer = Some((packet, received));
                Ok(None)
            }
        }
    }

    fn deadline(&self, request: &Request) -> Timestamp<Raw> {
        request.asked + ANSWER_WITHIN.min(self.poll.interval())
    }

    fn give_up(&mut self, now: Timestamp<Raw>, random: &mut Random) {
        self.poll.missed();
        self.schedule(now, random);
    }

    fn schedule(&mut self, now: Timestamp<Raw>, random: &mut Random) {
        let asked = self.request.take().map_or(now, |request| request.asked);
        self.next = asked + self.poll.next_interval(random);
    }

    fn kissed(&mut self, packet: &Packet, random: &mut Random) -> Kiss {
        let kiss = Kiss::from_reference_id(packet.reference_id);
        match kiss {
            Kiss::Deny | Kiss::Restrict => self.denied = true,
            Kiss::Rate => self.poll.asked_too_often(),
            Kiss::Other(_) => {}
        }
        let asked = self.request.as_ref().map_or(self.next, |request| request.asked);
        self.schedule(asked, random);
        kiss
    }

    fn complete(
        &mut self,
        packet: &Packet,
        sent: Stamp,
        received: Stamp,
        random: &mut Random,
    ) -> Result<Answer, Refused> {
        self.poll.answered();
        self.schedule(received.latest, random);
        self.header = Some(*packet);
        if packet.leap == Leap::Unsynchronised {
            return Err(Refused::Unsynchronised);
        }
        if packet.stratum >= 16 {
            return Err(Refused::Stratum);
        }
        if packet.receive == 0 || packet.transmit == 0 {
            return Err(Refused::ZeroStamp);
        }
        let (t2, t3) = (to_utc(packet.receive), to_utc(packet.transmit));
        if t3 < t2 {
            return Err(Refused::Backwards);
        }
        let root_distance = packet.root_distance();
        if root_distance > self.max_root_distance {
            return Err(Refused::RootDistance);
        }
        let (t1, t4) = (sent.earliest, received.latest);
        let exchange = Exchange { t1, t2, t3, t4, root_distance };
        Ok(Answer { exchange, stamps: sent.kind.min(received.kind) })
    }
}
