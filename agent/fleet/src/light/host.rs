//! The life of one light host: it enrols, holds one session after the other, and remembers what the
//! collector does not have yet.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::uplink::{Backoff, Secret};
use anyhow::{Context, Result};
use fleet_proto::pb;
use fleet_proto::pb::ingest_client::IngestClient;
use timebase::{BootId, HostId};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::connections::Connections;
use super::faults::{Dice, Role, role};
use super::model::LightHost;
use super::pace::{Pace, Sent, Stretch};
use super::roster::Roster;
use super::session::Ended;
use super::tally::{Tally, count};
use crate::World;
use crate::options::Options;

/// Waits between sessions, as an agent's.
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What all hosts share.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) options: Options,
    pub(crate) world: World,
    pub(crate) join_token: Option<Secret>,
    pub(crate) roster: Roster,
    pub(crate) connections: Connections,
    /// Turns of hosts that have yet to have their first session.
    pub(crate) opening: Semaphore,
    /// Hosts that have had a session, and word of another one.
    pub(crate) arrived: AtomicUsize,
    pub(crate) arrival: Notify,
    /// Cancelled: every host has had a session.
    pub(crate) all_here: CancellationToken,
    pub(crate) open_sessions: AtomicU64,
    /// Cancelled: make no more reports, end when all that was sent is answered.
    pub(crate) stop: CancellationToken,
    /// Cancelled: end.
    pub(crate) give_up: CancellationToken,
    tally: Mutex<Tally>,
}

impl Fleet {
    pub(crate) fn new(
        options: Options,
        join_token: Option<Secret>,
        roster: Roster,
        connections: Connections,
    ) -> Self {
        Self {
            opening: Semaphore::new(options.light.opening as usize),
            options,
            world: World::start(),
            join_token,
            roster,
            connections,
            arrived: AtomicUsize::new(0),
            arrival: Notify::new(),
            all_here: CancellationToken::new(),
            open_sessions: AtomicU64::new(0),
            stop: CancellationToken::new(),
            give_up: CancellationToken::new(),
            tally: Mutex::default(),
        }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) role: Role,
    pub(crate) id: HostId,
    pub(crate) boot: BootId,
    /// Every report up to this one is acknowledged or refused.
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// Reports that were sent and not answered.
    pub(crate) unanswered: u64,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) fleet: Arc<Fleet>,
    pub(super) model: LightHost,
    pub(super) role: Role,
    pub(super) id: HostId,
    pub(super) credential: Option<Secret>,
    pub(super) dice: Dice,
    pub(super) backoff: Backoff,
    /// From the first session on.
    pub(super) pace: Option<Pace>,
    pub(super) sent: Sent,
    /// What was sent and has to be sent again, oldest first.
    pub(super) again: VecDeque<Stretch>,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    /// When the last session ended.
    pub(super) lost_at: Option<Instant>,
}

impl Host {
    pub(crate) fn new(number: usize, fleet: &Arc<Fleet>) -> Self {
        let (options, seed) = (&fleet.options.light, fleet.options.seed);
        let role = role(number, options);
        let garbage = if let Role::Garbage(garbage) = role { Some(garbage) } else { None };
        let (id, credential) = fleet.roster.host(number);
        Self {
            model: LightHost::new(number, seed, fleet.world.began.as_ns(), garbage),
            fleet: fleet.clone(),
            role,
            id,
            credential,
            dice: Dice::new(number, seed, options),
            backoff: Backoff::new(RETRY_LEAST, RETRY_MOST),
            pace: None,
            sent: Sent::default(),
            again: VecDeque::new(),
            acknowledged: 0,
            refused: 0,
            lost_at: None,
        }
    }

    /// Lives until the fleet is told to stop, and then until everything that was sent is answered.
    pub(crate) async fn run(mut self) -> Fate {
        let fleet = self.fleet.clone();
        tokio::select! {
            () = fleet.give_up.cancelled() => {}
            () = self.live() => {}
        }
        Fate {
            role: self.role,
            id: self.id,
            boot: self.model.boot,
            acknowledged: self.acknowledged,
            refused: self.refused,
            unanswered: self.again.iter().map(|stretch| u64::from(stretch.count)).sum(),
        }
    }

    async fn live(&mut self) {
        let fleet = self.fleet.clone();
        while !(fleet.stop.is_cancelled() && self.again.is_empty()) {
            let ended = self.once().await;
            self.lost_at.get_or_insert_with(Instant::now);
            let wait = match ended {
                Ended::Done => continue,
                Ended::Lost(why) => {
                    count(&mut fleet.tally().ended, why, 1);
                    self.backoff.next(self.dice.bits())
                }
                Ended::Failed { status, opened } => {
                    let own = self.backoff.next(self.dice.bits());
                    let mut tally = fleet.tally();
                    let counts = if opened { &mut tally.ended } else { &mut tally.failed };
                    count(counts, &reason(&status), 1);
                    let guided = guided(&status);
                    tally.guided += u64::from(guided.is_some());
                    guided.unwrap_or(own)
                }
            };
            tokio::select! {
                () = fleet.stop.cancelled(), if self.again.is_empty() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One session, from its opening to its end. The first ones take turns.
    async fn once(&mut self) -> Ended {
        let fleet = self.fleet.clone();
        let turn = match self.pace {
            None => fleet.opening.acquire().await.ok(),
            Some(_) => None,
        };
        if fleet.stop.is_cancelled() && self.again.is_empty() {
            return Ended::Done;
        }
        let opened = async {
            if self.credential.is_none() {
                self.credential = Some(self.enrol().await?);
            }
            self.open().await
        };
        let opened = opened.await;
        drop(turn);
        let mut session = match opened {
            Ok(session) => session,
            Err(status) => return Ended::Failed { status: Box::new(status), opened: false },
        };
        self.arrive();
        fleet.open_sessions.fetch_add(1, Ordering::Relaxed);
        let _open = Open(&fleet.open_sessions);
        if self.role == Role::SlowReader {
            return self.talk_on(session).await;
        }
        let ended = self.converse(&mut session).await;
        self.take_back(session);
        ended
    }

    fn arrive(&mut self) {
        let fleet = &self.fleet;
        {
            let mut tally = fleet.tally();
            tally.opened += 1;
            if let Some(lost_at) = self.lost_at.take() {
                tally.reconnect.add(lost_at.elapsed());
            }
        }
        if self.pace.is_some() {
            return;
        }
        let (now, interval) = (fleet.world.elapsed_ns(), fleet.options.report_interval.as_ns());
        self.sent.at_ns = now;
        self.pace = Some(Pace::new(&fleet.options.light, interval, now, self.dice.share()));
        if fleet.arrived.fetch_add(1, Ordering::Relaxed) + 1 == fleet.options.hosts {
            fleet.all_here.cancel();
        }
        fleet.arrival.notify_one();
    }

    /// Trades the join token for a credential, and keeps that.
    async fn enrol(&self) -> Result<Secret, Status> {
        let token = self.fleet.join_token.as_ref();
        let token = token.ok_or_else(|| Status::unauthenticated("no join token"))?;
        let request = pb::EnrolRequest {
            join_token: token.expose().to_owned(),
            host_id: self.id.as_bytes().to_vec(),
            host: Some(self.model.info()),
        };
        let (channel, _) = self.fleet.connections.of(self.model.number);
        let reply = IngestClient::new(channel).enrol(request).await?;
        let credential = Secret::new(&reply.into_inner().credential);
        let kept = self.fleet.roster.keep(self.model.number, self.id, &credential);
        kept.map_err(|error| Status::internal(format!("credential not kept: {error}")))?;
        Ok(credential)
    }
}

/// Counts an open session for as long as it lives.
struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long the collector wants this host to stay away.
fn guided(status: &Status) -> Option<Duration> {
    if !matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) {
        return None;
    }
    let ms = status.metadata().get("retry-after-ms")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

/// The word of the collector's reason, or the code; "no connection" if the collector said nothing.
fn reason(status: &Status) -> String {
    if status.source().is_some() {
        return "no connection".to_owned();
    }
    let word = status.message().split_once(": ").map(|(word, _)| word);
    let is_word = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    word.filter(is_word).map_or_else(|| format!("{:?}", status.code()), str::to_owned)
}

/// The id, the boot and the last report of every host whose reports are to be found in the database.
pub(crate) fn write_acknowledged(path: &std::path::Path, fates: &[Fate]) -> Result<()> {
    use std::fmt::Write;
    let mut text = String::new();
    for fate in fates.iter().filter(|fate| fate.role == Role::Ordinary) {
        let Fate { id, boot, acknowledged, refused, .. } = fate;
        let _ = writeln!(text, "{id} {boot} {acknowledged} {refused}");
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataMap;

    /// Proves that the collector's word on when to come back is heard where it can be meant, and nowhere
    /// else.
    #[test]
    fn guidance_is_heard() {
        let told = |code, text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("retry-after-ms", text.parse().unwrap());
            guided(&Status::with_metadata(code, "busy", metadata))
        };
        assert_eq!(told(Code::Unavailable, "1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(told(Code::ResourceExhausted, "7"), Some(Duration::from_millis(7)));
        assert_eq!(told(Code::Unauthenticated, "7"), None);
        assert_eq!(told(Code::Unavailable, "soon"), None);
        assert_eq!(guided(&Status::unavailable("busy")), None);
    }

    /// Proves that reasons are counted by the collector's word, and by the code where there is none.
    #[test]
    fn reasons_are_words() {
        let word = |text: &str| reason(&Status::aborted(text));
        assert_eq!(word("slow-reader: answers are not read"), "slow-reader");
        assert_eq!(word("this host has opened newer sessions"), "Aborted");
        assert_eq!(word("Some text: more"), "Aborted");
    }
}
