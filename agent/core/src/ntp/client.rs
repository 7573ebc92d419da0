use alloc::vec::Vec;

use timebase::{Exchange, Leap, Raw, Span, StampKind, Timestamp};

use super::authentication::Authentication;
use super::interleave::Interleaving;
use super::poll::{Poll, PollNeed};
use super::{Kiss, Mode, Packet, to_utc};
use crate::nonces::Nonces;
use crate::nts::{NtsFailure, NtsKeys};
use crate::{EngineConfig, Random, Refused, SendToken, SourceConfig, SourceId, Stamp};

/// An answer that comes later than this is as good as lost. By satellite, or through the full queue of a
/// slow line, more than a second is usual. It does not depend on the poll interval: while a request is
/// out, the next one waits.
const ANSWER_WITHIN: Span = Span::from_secs(2);

/// The client's side of one association: at most one request is out, and exactly one answer to it is
/// taken.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    id: SourceId,
    poll: Poll,
    max_root_distance: Span,
    authentication: Authentication,
    interleaving: Interleaving,
    request: Option<Request>,
    serial: u64,
    /// When the last request was made.
    asked: Option<Timestamp<Raw>>,
    /// When to ask next, while no request is out.
    next: Timestamp<Raw>,
    denied: bool,
    /// Whether the newest answer did not prove who sent it.
    unproven: bool,
    header: Option<Packet>,
    interleaved: bool,
}

#[derive(Clone, Debug)]
struct Request {
    serial: u64,
    /// The random number in its transmit field, which a basic answer gives back.
    transmit: u64,
    /// The one in its receive field, which an interleaved answer gives back.
    receive: Option<u64>,
    asked: Timestamp<Raw>,
    sent: Option<Stamp>,
    /// An answer that overtook the word that its request was sent.
    answer: Option<Received>,
}

/// An answer that is authentic, as it came.
#[derive(Clone, Copy, Debug)]
struct Received {
    packet: Packet,
    at: Stamp,
    interleaved: bool,
}

/// One exchange, as the estimators need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) exchange: Exchange<Raw>,
    /// Where T2 stands for a T3 that is not known yet: how long the server likely kept the request. Not
    /// certain, so it is not in the exchange.
    pub(crate) held: Span,
    pub(crate) stamps: StampKind,
}

/// What one datagram tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers {
    /// The exchange before, now with its exact T3, if the answer is interleaved. It ends at the same T4
    /// as it did when it was first told.
    pub(crate) precise: Option<Result<Answer, Refused>>,
    /// The exchange that ends with this datagram. Where that is interleaved, its own T3 is not known yet
    /// and T2 stands for it: true by causality, and wider by the time that the server took.
    pub(crate) fresh: Answer,
}

impl Client {
    pub(crate) fn new(
        id: SourceId,
        config: &SourceConfig,
        engine: &EngineConfig,
        now: Timestamp<Raw>,
    ) -> Self {
        Self {
            id,
            poll: Poll::new(config),
            max_root_distance: engine.max_root_distance,
            authentication: Authentication::new(&config.auth, now),
            interleaving: Interleaving::new(config.interleaved),
            request: None,
            serial: 0,
            asked: None,
            next: now,
            denied: false,
            unproven: false,
            header: None,
            interleaved: false,
        }
    }

    /// For another server in the same place: an exchange of keys that is under way goes on.
    pub(crate) fn anew(
        &self,
        config: &SourceConfig,
        engine: &EngineConfig,
        now: Timestamp<Raw>,
    ) -> Self {
        let fresh = Self::new(self.id, config, engine, now);
        // The serial goes on: what becomes of an old request is not said of a new one.
        Self { authentication: self.authentication.anew(), serial: self.serial, ..fresh }
    }

    pub(crate) fn reach(&self) -> u8 {
        self.poll.reach()
    }

    /// The poll interval in force.
    pub(crate) fn interval(&self) -> Span {
        self.poll.interval()
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

    /// Whether its newest answer did not prove who sent it, and none came after that did.
    pub(crate) fn unproven(&self) -> bool {
        self.unproven
    }

    /// The newest answer's header, whatever was thought of it.
    pub(crate) fn header(&self) -> Option<&Packet> {
        self.header.as_ref()
    }

    /// The newest answer was one, but no measurement: it does not count as reached.
    pub(crate) fn discount(&mut self) {
        self.poll.discount();
    }

    /// Whether a request is out that was not answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.request.is_some()
    }

    /// Whether the newest answer was interleaved.
    pub(crate) fn interleaved(&self) -> bool {
        self.interleaved
    }

    /// How closely the source should be watched from now on.
    pub(crate) fn set_need(&mut self, need: PollNeed) {
        self.poll.set_need(need);
    }

    /// Ask more closely for a while, beginning as soon as the server can be asked again.
    pub(crate) fn hurry(&mut self, now: Timestamp<Raw>) {
        self.poll.hurry();
        // Whatever goes wrong how often, a server is not asked faster than in a burst, nor than it allows.
        let soonest = self.asked.map_or(now, |asked| asked + self.poll.soonest());
        self.next = self.next.min(now + Span::MILLISECOND).max(soonest);
    }

    /// Ask more closely for a while, beginning with the poll that is planned.
    pub(crate) fn watch(&mut self) {
        self.poll.watch();
    }

    /// The raw clock stood still for a while: an answer to the request that is out would be measured too
    /// short. Ask anew; whatever still comes of that request is unexpected.
    pub(crate) fn abandon(&mut self, now: Timestamp<Raw>) {
        self.request = None;
        self.interleaving.forget();
        self.hurry(now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp<Raw>> {
        if self.denied {
            return None;
        }
        if let Some(request) = &self.request {
            return Some(Self::deadline(request));
        }
        match self.authentication.association() {
            Some(association) if !association.is_ready(self.next) => {
                association.next_exchange().map(|at| at.max(self.next))
            }
            _ => Some(self.next),
        }
    }

    /// Whether the request that was out has just been given up.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp<Raw>, random: &mut Random) -> bool {
        let overdue = self.request.as_ref().is_some_and(|request| Self::deadline(request) <= now);
        if overdue {
            self.give_up(now, random);
        }
        overdue
    }

    /// Whether keys have to be exchanged before the request that is due; asking begins it.
    pub(crate) fn poll_exchange(&mut self, now: Timestamp<Raw>) -> bool {
        let due = self.is_due(now);
        let Some(association) = self.authentication.association_mut().filter(|_| due) else {
            return false;
        };
        let needed =
            !association.is_ready(now) && association.next_exchange().is_some_and(|at| at <= now);
        if needed {
            association.begin_exchange(now);
        }
        needed
    }

    pub(crate) fn handle_keys(&mut self, now: Timestamp<Raw>, keys: NtsKeys) {
        if let Some(association) = self.authentication.association_mut() {
            association.handle_keys(now, keys);
        }
    }

    /// Whether that is as bad as a request without an answer.
    pub(crate) fn handle_keys_failed(&mut self, now: Timestamp<Raw>, why: NtsFailure) -> bool {
        let Some(association) = self.authentication.association_mut() else { return false };
        association.handle_failure(now, why);
        self.unproven = why != NtsFailure::Connection;
        self.poll.missed();
        true
    }

    /// The next request, if it is time.
    pub(crate) fn poll_request(
        &mut self,
        now: Timestamp<Raw>,
        nonces: &mut Nonces,
    ) -> Option<(SendToken, Vec<u8>)> {
        let kept = self.authentication.association().is_none_or(|nts| nts.is_ready(now));
        if !self.is_due(now) || !kept {
            return None;
        }
        // Random, and never zero: that would make a server's zeroed origin field look right.
        let transmit = nonces.non_zero();
        let origin = self.interleaving.origin();
        let receive = origin.map(|_| nonces.non_zero()).filter(|receive| *receive != transmit);
        let mut header = Packet::request(transmit);
        if let Some((origin, receive)) = origin.zip(receive) {
            (header.origin, header.receive) = (origin, receive);
        }
        let packet = self.authentication.seal(header.encode().to_vec(), nonces)?;
        self.serial += 1;
        self.asked = Some(now);
        let serial = self.serial;
        let request = Request { serial, transmit, receive, asked: now, sent: None, answer: None };
        self.request = Some(request);
        Some((SendToken::new(self.id, serial), packet))
    }

    pub(crate) fn handle_sent(
        &mut self,
        token: &SendToken,
        sent: Stamp,
        random: &mut Random,
    ) -> Option<Result<Answers, Refused>> {
        let request = self.request.as_mut().filter(|r| token.is_serial(r.serial))?;
        request.sent = Some(sent);
        let received = request.answer?;
        Some(self.complete(received, sent, random))
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
        at: Stamp,
        random: &mut Random,
    ) -> Result<Option<Answers>, Refused> {
        let packet = Packet::decode(bytes)?;
        if packet.mode != Mode::Server {
            return Err(Refused::Mode);
        }
        let request = self.request.as_mut().ok_or(Refused::Unexpected)?;
        let interleaved = request.receive == Some(packet.origin);
        if packet.origin != request.transmit && !interleaved {
            return Err(Refused::Origin);
        }
        if request.answer.is_some() {
            return Err(Refused::Unexpected);
        }
        // Anybody on the path can send an answer that proves nothing: go on waiting for the right one.
        if let Err(refused) = self.authentication.open(&packet, bytes) {
            self.unproven = true;
            return Err(refused);
        }
        // Stratum 0 only counts after these checks: nobody else can silence a server for us.
        if let Some(kiss) = Kiss::of(&packet) {
            self.kissed(kiss, random);
            return Err(Refused::Kiss(kiss));
        }
        let received = Received { packet, at, interleaved };
        match request.sent {
            Some(sent) => self.complete(received, sent, random).map(Some),
            None => {
                request.answer = Some(received);
                Ok(None)
            }
        }
    }

    fn is_due(&self, now: Timestamp<Raw>) -> bool {
        !self.denied && self.request.is_none() && self.next <= now
    }

    fn deadline(request: &Request) -> Timestamp<Raw> {
        request.asked + ANSWER_WITHIN
    }

    fn give_up(&mut self, now: Timestamp<Raw>, random: &mut Random) {
        self.poll.missed();
        if self.request.as_ref().is_some_and(|request| request.receive.is_some()) {
            self.interleaving.missed();
        }
        if let Some(association) = self.authentication.association_mut() {
            association.missed();
        }
        self.schedule(now, random);
    }

    fn schedule(&mut self, now: Timestamp<Raw>, random: &mut Random) {
        let asked = self.request.take().map_or(now, |request| request.asked);
        self.next = asked + self.poll.next_interval(random);
    }

    fn kissed(&mut self, kiss: Kiss, random: &mut Random) {
        self.unproven = false;
        self.poll.refused();
        match kiss {
            Kiss::Deny | Kiss::Restrict => self.denied = true,
            Kiss::Rate => self.poll.asked_too_often(),
            Kiss::NtsNak | Kiss::Other(_) => {}
        }
        let asked = self.request.as_ref().map_or(self.next, |request| request.asked);
        self.schedule(asked, random);
    }

    fn complete(
        &mut self,
        received: Received,
        sent: Stamp,
        random: &mut Random,
    ) -> Result<Answers, Refused> {
        let Received { packet, at, interleaved } = received;
        self.poll.answered();
        self.schedule(at.latest, random);
        self.header = Some(packet);
        self.unproven = false;
        self.interleaved = interleaved;
        let answers = self.measure(&received, sent);
        match &answers {
            Ok(answers) => self.interleaving.answered(packet.receive, answers, interleaved),
            Err(_) => self.interleaving.forget(),
        }
        answers
    }

    fn measure(&self, received: &Received, sent: Stamp) -> Result<Answers, Refused> {
        let Received { packet, at, interleaved } = received;
        if packet.leap == Leap::Unsynchronised {
            return Err(Refused::Unsynchronised);
        }
        if packet.stratum >= 16 {
            return Err(Refused::Stratum);
        }
        if packet.receive == 0 || packet.transmit == 0 {
            return Err(Refused::ZeroStamp);
        }
        let t2 = to_utc(packet.receive);
        let t3 = if *interleaved { t2 } else { to_utc(packet.transmit) };
        if t3 < t2 {
            return Err(Refused::Backwards);
        }
        let root_distance = packet.root_distance();
        if root_distance > self.max_root_distance {
            return Err(Refused::RootDistance);
        }
        let precise = interleaved.then(|| self.interleaving.precise(packet.transmit)).flatten();
        let (t1, t4) = (sent.earliest, at.latest);
        let exchange = Exchange { t1, t2, t3, t4, root_distance };
        let held = self.interleaving.hold(&precise).filter(|_| *interleaved).unwrap_or(Span::ZERO);
        let fresh = Answer { exchange, held, stamps: sent.kind.min(at.kind) };
        Ok(Answers { precise, fresh })
    }
}
