//! One time source: when it is polled, what its answers give, and whether it has a vote.

mod refclock;
mod report;

use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Leap, Raw, Span, Timestamp, Unusable, Verdict};

use crate::crossing::Crossing;
use crate::estimate::{Taken, Track};
use crate::nonces::Nonces;
use crate::ntp::{Answer, Answers, Client, PollNeed};
use crate::nts::{NtsFailure, NtsKeys};
use crate::refclock::Refclock;
use crate::{
    EngineConfig, Random, Refused, SendToken, SourceConfig, SourceId, SourceOptions, Stamp,
};

pub(crate) use report::Moment;

/// First and longest wait between two look-ups of a name that does not resolve.
const LOOKUP_AGAIN: (Span, Span) = (Span::from_secs(2), Span::from_secs(64));
/// Look an unreachable source's name up again this often: it may have moved.
const LOOKUP_UNREACHABLE: Span = Span::from_secs(64);
/// Polls in a row that a silent source may miss while others answer before it loses its vote. One or
/// two may be counted when all sources fall silent together, so three it must be at least.
const CHANCES: u32 = 3;
/// At the shortest intervals several polls fall into one short outage, which is one chance.
const CHANCES_APART: Span = Span::from_secs(8);
/// As many for a source of which something is remembered: that stays true and widens slowly, and may be
/// what outvotes a liar. On a lossy path, three in a row are soon missed.
const CHANCES_REMEMBERED: u32 = 8;
/// A server that sent DENY is left alone; its name may mean another one after this.
const LOOKUP_DENIED: Span = Span::from_secs(3600);

/// One configured source: its association, what is remembered of its answers, and what is thought of it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    id: SourceId,
    config: SourceConfig,
    address: String,
    client: Client,
    /// Instead of the client, for a source that is not asked.
    refclock: Option<Refclock>,
    pub(crate) track: Track,
    pub(crate) crossing: Crossing,
    /// What the last assessment said.
    pub(crate) verdict: Verdict,
    /// Why the newest answer was of no use, if it was.
    trouble: Option<Unusable>,
    /// T4 of the last answer accepted.
    heard: Option<Timestamp<Raw>>,
    /// When the last chance was missed; `None` after an answer.
    missed: Option<Timestamp<Raw>>,
    /// Polls or look-ups missed in a row, each with an answer of another source since the miss before.
    chances_missed: u32,
    lookup_at: Option<Timestamp<Raw>>,
    lookup_wait: Span,
    online: bool,
    accepted: u64,
    refused: u64,
}

impl Source {
    pub(crate) fn new(
        id: SourceId,
        config: SourceConfig,
        engine: &EngineConfig,
        now: Timestamp<Raw>,
    ) -> Self {
        Self {
            id,
            client: Client::new(id, &config, engine, now),
            refclock: None,
            track: Track::new(engine.drift_limit),
            crossing: Crossing::new(engine),
            verdict: Verdict::Unusable(Unusable::NoAnswerYet),
            trouble: None,
            heard: None,
            missed: None,
            chances_missed: 0,
            address: String::new(),
            lookup_at: Some(now),
            lookup_wait: LOOKUP_AGAIN.0,
            online: true,
            accepted: 0,
            refused: 0,
            config,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(crate) fn options(&self) -> SourceOptions {
        self.config.options
    }

    /// The leap indicator of its newest answer.
    pub(crate) fn leap(&self) -> Leap {
        match &self.refclock {
            Some(refclock) => refclock.leap(),
            None => self.client.header().map_or(Leap::None, |header| header.leap),
        }
    }

    /// Why it has no vote among the sources that answer; `None` if it has one.
    pub(crate) fn standing(&self) -> Option<Verdict> {
        if !self.online {
            return Some(Verdict::Unusable(Unusable::Offline));
        }
        if self.client.denied() {
            return Some(Verdict::Unusable(Unusable::Denied));
        }
        if self.trouble == Some(Unusable::Authentication) {
            return Some(Verdict::Unusable(Unusable::Authentication));
        }
        if self.unreachable() {
            return Some(Verdict::Unreachable);
        }
        if let Some(why) = self.trouble {
            return Some(Verdict::Unusable(why));
        }
        if self.track.contradictory() {
            return Some(Verdict::Unusable(Unusable::Contradictory));
        }
        self.track.best().is_none().then_some(Verdict::Unusable(Unusable::NoAnswerYet))
    }

    fn unreachable(&self) -> bool {
        self.refclock.as_ref().map_or(self.client.unreachable(), Refclock::unreachable)
    }

    /// Whether a source that is silent has been so for long enough, while others were heard, to go on
    /// without it.
    pub(crate) fn has_had_its_chance(&self) -> bool {
        let remembered = self.track.best().is_some();
        self.chances_missed >= if remembered { CHANCES_REMEMBERED } else { CHANCES }
    }

    /// When it last answered.
    pub(crate) fn heard(&self) -> Option<Timestamp<Raw>> {
        self.heard
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp<Raw>> {
        let asks = self.online && !self.address.is_empty();
        let client = if asks { self.client.next_timeout() } else { None };
        let refclock = self.refclock.as_ref().map(Refclock::due);
        let lookup = self.lookup_at.filter(|_| self.online);
        [client, refclock, lookup].into_iter().flatten().min()
    }

    pub(crate) fn handle_resolved(
        &mut self,
        now: Timestamp<Raw>,
        address: String,
        engine: &EngineConfig,
    ) {
        if address.is_empty() || self.refclock.is_some() {
            return;
        }
        if address != self.address {
            let fresh = Self::new(self.id, self.config.clone(), engine, now);
            let (accepted, refused, verdict) = (self.accepted, self.refused, self.verdict);
            let (crossing, online) = (self.crossing.anew(), self.online);
            let client = self.client.anew(&self.config, engine, now);
            *self = Self { address, online, accepted, refused, verdict, crossing, client, ..fresh };
        }
        self.lookup_wait = LOOKUP_AGAIN.0;
        self.lookup_at = self.client.denied().then(|| now + LOOKUP_DENIED);
    }

    pub(crate) fn handle_timeout(
        &mut self,
        now: Timestamp<Raw>,
        others_heard: Option<Timestamp<Raw>>,
        random: &mut Random,
    ) {
        if self.refclock.is_some() {
            self.poll_refclock(now, others_heard);
        } else if self.client.handle_timeout(now, random) {
            self.missed(now, others_heard);
        }
    }

    /// Whether a look-up is due; asking makes the next one due later. A name that means nothing is as
    /// silent as a server that does not answer.
    pub(crate) fn poll_lookup(
        &mut self,
        now: Timestamp<Raw>,
        others_heard: Option<Timestamp<Raw>>,
    ) -> bool {
        let due = self.online && self.lookup_at.is_some_and(|at| at <= now);
        if due {
            if self.address.is_empty() {
                self.miss_chance(now, others_heard);
            }
            self.lookup_at = Some(now + self.lookup_wait);
            self.lookup_wait = self.lookup_wait.times(2).min(LOOKUP_AGAIN.1);
        }
        due
    }

    pub(crate) fn poll_request(
        &mut self,
        now: Timestamp<Raw>,
        nonces: &mut Nonces,
    ) -> Option<(SendToken, Vec<u8>)> {
        if self.address.is_empty() || !self.online {
            return None;
        }
        self.client.poll_request(now, nonces)
    }

    /// Whether the answer was there already.
    pub(crate) fn handle_sent(
        &mut self,
        token: &SendToken,
        sent: Stamp,
        others_heard: Option<Timestamp<Raw>>,
        random: &mut Random,
    ) -> bool {
        let outcome = self.client.handle_sent(token, sent, random);
        let answered = outcome.is_some();
        if let Some(outcome) = outcome {
            // The datagram was already reported as taken; a refusal is counted by itself.
            let _: Result<(), Refused> = self.conclude(outcome, sent.latest, others_heard);
        }
        answered
    }

    pub(crate) fn handle_send_failed(
        &mut self,
        now: Timestamp<Raw>,
        token: &SendToken,
        others_heard: Option<Timestamp<Raw>>,
        random: &mut Random,
    ) {
        if self.client.handle_send_failed(now, token, random) {
            self.missed(now, others_heard);
        }
    }

    pub(crate) fn handle_datagram(
        &mut self,
        now: Timestamp<Raw>,
        bytes: &[u8],
        received: Stamp,
        others_heard: Option<Timestamp<Raw>>,
        random: &mut Random,
    ) -> Result<(), Refused> {
        let outcome = self.client.handle_datagram(bytes, received, random).transpose();
        outcome.map_or(Ok(()), |outcome| self.conclude(outcome, now, others_heard))
    }

    fn conclude(
        &mut self,
        outcome: Result<Answers, Refused>,
        now: Timestamp<Raw>,
        others_heard: Option<Timestamp<Raw>>,
    ) -> Result<(), Refused> {
        match outcome {
            Ok(answers) => self.take(&answers, others_heard),
            Err(refused) => Err(self.refuse_answer(refused, now, others_heard)),
        }
    }

    /// The raw clock has jumped against UTC: forget, and ask at once.
    pub(crate) fn handle_jump(&mut self, now: Timestamp<Raw>) {
        self.track.forget();
        if let Some(refclock) = &mut self.refclock {
            refclock.forget();
        }
        self.client.abandon(now);
    }

    /// Whether keys have to be exchanged; asking begins it.
    pub(crate) fn poll_exchange(&mut self, now: Timestamp<Raw>) -> bool {
        self.online && !self.address.is_empty() && self.client.poll_exchange(now)
    }

    pub(crate) fn handle_keys(&mut self, now: Timestamp<Raw>, keys: NtsKeys) {
        self.client.handle_keys(now, keys);
    }

    pub(crate) fn handle_keys_failed(
        &mut self,
        now: Timestamp<Raw>,
        why: NtsFailure,
        others_heard: Option<Timestamp<Raw>>,
    ) {
        if self.client.handle_keys_failed(now, why) {
            self.missed(now, others_heard);
        }
    }

    /// Whether to ask at all. A request that is out is given up, and none is missed for it.
    pub(crate) fn set_online(&mut self, now: Timestamp<Raw>, online: bool) {
        if online != self.online {
            self.client.abandon(now);
        }
        self.online = online;
    }

    /// How closely it has to be asked.
    fn need(&self) -> PollNeed {
        let twice = self.client.interval().times(2);
        if self.track.surprised() {
            PollNeed::Closer
        } else if self.track.grows_over(twice) > self.track.best_width().unwrap_or(Span::MAX) {
            PollNeed::Stay
        } else {
            PollNeed::Usual
        }
    }

    /// What a datagram tells. Its exact word about the exchange before may be refused by itself.
    fn take(
        &mut self,
        answers: &Answers,
        others_heard: Option<Timestamp<Raw>>,
    ) -> Result<(), Refused> {
        let on_probation = self.track.contradictory();
        let precise = answers
            .precise
            .map_or(Ok(Taken::Agrees), |precise| precise.and_then(|answer| self.learn(&answer)));
        let surprised = answers.precise.is_some() && precise.is_ok() && self.track.surprised();
        let at = answers.fresh.exchange.t4;
        let fresh = self
            .learn(&answers.fresh)
            .map_err(|refused| self.refuse_answer(refused, at, others_heard))?;
        if surprised {
            // One datagram, two exchanges: the wider one must not hush the exact one up.
            self.track.note_surprise();
        }
        self.trouble = None;
        self.heard = Some(at);
        self.missed = None;
        self.chances_missed = 0;
        self.client.set_need(self.need());
        if fresh == Taken::Contradicts || precise == Ok(Taken::Contradicts) {
            self.look_closer(at, on_probation);
        }
        match precise {
            Ok(_) => self.accepted += 1,
            // Counted as refused, but what it says by itself was taken: the source keeps its vote.
            Err(_) => self.refused = self.refused.saturating_add(1),
        }
        precise.map(|_| ())
    }

    /// It contradicted itself. One burst tells whether it has settled; a source that goes on contradicting
    /// itself (several servers behind one address) does so however often it is asked.
    fn look_closer(&mut self, at: Timestamp<Raw>, on_probation: bool) {
        if on_probation {
            self.client.watch();
        } else {
            self.client.hurry(at);
        }
    }

    fn learn(&mut self, answer: &Answer) -> Result<Taken, Refused> {
        let at = answer.exchange.t4;
        let known = self.track.bounds_at(at).filter(|_| !self.track.contradictory());
        // Pulses are numbered on the leap-free scale.
        let crossed = if self.is_numbered() {
            self.crossing.cross(&answer.exchange, self.leap(), known)
        } else {
            Some(answer.exchange)
        };
        let taken = crossed.map(|exchange| self.track.take(&Answer { exchange, ..*answer }));
        Ok(taken.transpose()?.unwrap_or(Taken::Agrees))
    }

    fn refuse(&mut self, refused: Refused, now: Timestamp<Raw>) -> Refused {
        self.refused = self.refused.saturating_add(1);
        match refused {
            Refused::Unsynchronised => self.trouble = Some(Unusable::Unsynchronised),
            Refused::Stratum => self.trouble = Some(Unusable::Stratum),
            Refused::RootDistance => self.trouble = Some(Unusable::RootDistance),
            Refused::Causality | Refused::Backwards | Refused::ZeroStamp => {
                self.trouble = Some(Unusable::BadStamps);
            }
            Refused::Kiss(_) if self.client.denied() => {
                self.lookup_at = Some(now + LOOKUP_DENIED);
            }
            _ => {}
        }
        refused
    }

    /// As [`refuse`](Self::refuse), for what came in answer to a request. If it is authentic, nothing
    /// better will come: the source has been asked in vain.
    fn refuse_answer(
        &mut self,
        refused: Refused,
        now: Timestamp<Raw>,
        others_heard: Option<Timestamp<Raw>>,
    ) -> Refused {
        match refused {
            // Without proof of its sender, it leaves the request waiting for an answer.
            Refused::Kiss(_) if !self.client.is_waiting() => self.missed(now, others_heard),
            Refused::Unsynchronised
            | Refused::Stratum
            | Refused::RootDistance
            | Refused::Causality
            | Refused::Backwards
            | Refused::ZeroStamp => {
                self.client.discount();
                self.miss_chance(now, others_heard);
            }
            _ => {}
        }
        self.refuse(refused, now)
    }

    fn missed(&mut self, now: Timestamp<Raw>, others_heard: Option<Timestamp<Raw>>) {
        self.miss_chance(now, others_heard);
        if self.refclock.is_some() {
            return;
        }
        if self.client.unproven() {
            self.trouble = Some(Unusable::Authentication);
        }
        if self.client.unreachable() && self.lookup_at.is_none() {
            self.lookup_at = Some(now);
            self.lookup_wait = LOOKUP_UNREACHABLE;
        }
    }

    fn miss_chance(&mut self, now: Timestamp<Raw>, others_heard: Option<Timestamp<Raw>>) {
        if self.missed.is_some_and(|before| now - before < CHANCES_APART) {
            return;
        }
        let before = self.missed.replace(now);
        if others_heard.is_some_and(|heard| before.is_none_or(|before| heard > before)) {
            self.chances_missed = self.chances_missed.saturating_add(1);
        }
    }
}
