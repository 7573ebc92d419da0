//! Names and addresses of the engine's sources: which source asks which address, and the look-ups
//! that find them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use agent_core::{Engine, SourceId};
use fleet_proto::convert::MAX_SOURCES;
use timebase::{Raw, Report, Span, Timestamp, Unusable, Verdict};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::nts::KeyServer;
use crate::sources::{Asking, Server, ServerName};
use crate::uplink::Backoff;

/// Longest wait for the resolver, which has time-outs of its own.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);
/// Waits between look-ups of a name that gave nothing.
const RETRY_LEAST: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_secs(64);
/// Waits before a name that has an address is looked up again, because the server does not answer.
const RENEW_LEAST: Duration = Duration::from_secs(16);
const RENEW_MOST: Duration = Duration::from_secs(1024);
/// Addresses looked at from one answer.
const MAX_ADDRESSES: usize = 16;
/// A pool's member that is of no use for this long, and for this many polls, makes room for another.
const USELESS_FOR: Span = Span::from_secs(300);
const USELESS_POLLS: i64 = 8;
/// Addresses remembered as of no use: they are chosen last.
const MAX_SHUNNED: usize = 32;

/// The sources by name.
#[derive(Debug)]
pub(crate) struct Slots {
    asking: Asking,
    slots: BTreeMap<SourceId, Slot>,
    lookups: JoinSet<Resolved>,
    /// Addresses of pools' members that were given up, the latest last.
    shunned: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Slot {
    server: Server,
    /// Where it is asked.
    address: Option<SocketAddr>,
    /// Where its name leads: where it is asked, unless keys were exchanged for another server there.
    named: Option<SocketAddr>,
    looking: bool,
    /// Whether a look-up has ever given addresses.
    found: bool,
    renewal: Backoff,
    /// Addresses from the last look-up that were not tried yet.
    untried: Vec<SocketAddr>,
    /// Whether anything ever came from the address in use.
    heard_of: bool,
    /// Since when the address in use has been of no use.
    useless: Option<Timestamp<Raw>>,
}

/// What a look-up found; never empty.
#[derive(Debug)]
pub(crate) struct Resolved {
    source: SourceId,
    addresses: Vec<SocketAddr>,
}

impl Slots {
    pub(crate) fn new(asking: Asking) -> Self {
        Self { asking, slots: BTreeMap::new(), lookups: JoinSet::new(), shunned: Vec::new() }
    }

    /// Adds a source for the server's first address; a pool's others follow when they are known.
    /// `None` beyond the number of sources that a report can hold.
    pub(crate) fn add_server(
        &mut self,
        engine: &mut Engine,
        now: Timestamp<Raw>,
        server: Server,
    ) -> Option<SourceId> {
        if engine.source_count() >= MAX_SOURCES {
            warn!("{} is not asked: {MAX_SOURCES} sources are the limit", server.name);
            return None;
        }
        let source = engine.add_source(now, self.asking.source(&server));
        engine.set_smear(source, server.smear.fixed());
        if server.offline {
            engine.set_online(now, source, false);
        }
        let slot = Slot {
            server,
            address: None,
            named: None,
            looking: false,
            found: false,
            renewal: Backoff::new(RENEW_LEAST, RENEW_MOST),
            untried: Vec::new(),
            heard_of: false,
            useless: None,
        };
        self.slots.insert(source, slot);
        Some(source)
    }

    /// The address a source asks.
    pub(crate) fn address(&self, source: SourceId) -> Option<SocketAddr> {
        self.slots.get(&source)?.address
    }

    /// With whom the source exchanges keys.
    pub(crate) fn key_server(&self, source: SourceId) -> Option<KeyServer> {
        let Slot { server, named, .. } = self.slots.get(&source)?;
        let ntp = (*named)?;
        Some(KeyServer {
            name: server.name.host().to_owned(),
            address: SocketAddr::new(ntp.ip(), server.nts_port),
            ca_file: server.nts_ca_file.clone(),
            ntp,
        })
    }

    /// Keys were exchanged for NTP at `address`. False if that is no use: the source was moved meanwhile,
    /// or another one asks there already.
    pub(crate) fn keyed(
        &mut self,
        engine: &mut Engine,
        now: Timestamp<Raw>,
        source: SourceId,
        server: &KeyServer,
        address: SocketAddr,
    ) -> bool {
        let mut others = self.slots.iter().filter(|(id, _)| **id != source);
        if others.any(|(_, slot)| slot.address == Some(address)) {
            warn!("{} is not asked: another name leads to {address}, too", server.name);
            return false;
        }
        let slot = self.slots.get_mut(&source).filter(|slot| slot.named == Some(server.ntp));
        let Some(slot) = slot else { return false };
        if slot.address.replace(address) != Some(address) {
            engine.handle_resolved(now, source, address.to_string());
        }
        true
    }

    /// The sources that are called so: by name, host or address; all for `None`.
    pub(crate) fn called(&self, name: Option<&str>) -> Vec<SourceId> {
        let is_called = |slot: &Slot| {
            let Some(name) = name else { return true };
            let address = slot.address.is_some_and(|address| {
                address.to_string() == name || address.ip().to_string() == name
            });
            address || slot.server.name.to_string() == name || slot.server.name.host() == name
        };
        self.slots.iter().filter(|(_, slot)| is_called(slot)).map(|(id, _)| *id).collect()
    }

    /// Starts looking the source's name up, until it gives an address. The engine asks for this as
    /// often as it polls in vain; the name server is asked ever more rarely.
    pub(crate) fn resolve(&mut self, source: SourceId) {
        let Some(slot) = self.slots.get_mut(&source) else { return };
        if !std::mem::replace(&mut slot.looking, true) {
            let wait = if slot.found { slot.renewal.next(u32::MAX) } else { Duration::ZERO };
            let name = slot.server.name.clone();
            self.lookups.spawn(async move {
                sleep(wait).await;
                look_up(source, name).await
            });
        }
    }

    /// The next look-up that found something; `None` while there is none under way.
    pub(crate) async fn resolved(&mut self) -> Option<Resolved> {
        // A look-up that panicked or was aborted leaves its source unresolved; there is no such.
        self.lookups.join_next().await?.ok()
    }

    /// Gives the source the next address that no other source asks, and a pool more sources if it has
    /// more addresses.
    pub(crate) fn assign(&mut self, engine: &mut Engine, now: Timestamp<Raw>, found: Resolved) {
        let Resolved { source, addresses } = found;
        let others: Vec<_> = self.slots.iter().filter(|(id, _)| **id != source).collect();
        let taken: Vec<_> = others.iter().filter_map(|(_, slot)| slot.address).collect();
        let Some(slot) = self.slots.get_mut(&source) else { return };
        slot.looking = false;
        let server = slot.server.clone();
        // Begins behind the address that did not answer, and comes back to it last.
        let old = addresses.iter().position(|address| Some(*address) == slot.named);
        let (before, behind) = addresses.split_at(old.map_or(0, |at| at + 1));
        let mut free: Vec<_> =
            behind.iter().chain(before).filter(|address| !taken.contains(address)).collect();
        free.sort_by_key(|address| self.shunned.contains(address));
        if free.is_empty() {
            // The same server under two names would have two votes.
            if slot.renewal.is_fresh() {
                warn!(source.name = %server.name,
                    "{} is not asked: all its addresses are asked by other names", server.name);
            }
            slot.found = true;
            return;
        }
        self.connect(engine, now, source, *free.remove(0));
        if let Some(slot) = self.slots.get_mut(&source) {
            slot.untried = free.iter().copied().copied().collect();
        }
        let siblings = self.slots.values().filter(|slot| slot.server.name == server.name).count();
        for address in free.into_iter().take(server.sources().saturating_sub(siblings)) {
            if let Some(source) = self.add_server(engine, now, server.clone()) {
                self.connect(engine, now, source, *address);
            }
        }
    }

    /// Something came from the source's address: it is worth staying with.
    pub(crate) fn heard_of(&mut self, source: SourceId) {
        if let Some(slot) = self.slots.get_mut(&source) {
            slot.heard_of = true;
        }
    }

    /// The source's address has no server and never had: the name's next one is tried at once, so
    /// that a name with an IPv6 address that does not serve costs no minutes.
    pub(crate) fn try_another(
        &mut self,
        engine: &mut Engine,
        now: Timestamp<Raw>,
        source: SourceId,
    ) {
        let taken: Vec<_> = self.slots.values().filter_map(|slot| slot.address).collect();
        let Some(slot) = self.slots.get_mut(&source).filter(|slot| !slot.heard_of) else { return };
        slot.untried.retain(|address| !taken.contains(address));
        if !slot.untried.is_empty() {
            let next = slot.untried.remove(0);
            self.connect(engine, now, source, next);
        }
    }

    /// Looks for pools' members that have been of no use for long, by what the engine says of its sources,
    /// and looks their names up anew.
    pub(crate) fn review(&mut self, report: &Report) {
        let mut given_up = Vec::new();
        for (id, slot) in &mut self.slots {
            // A source's number is its place in reports. Not all of them have slots: reference clocks do
            // without, and stand before a pool's later members.
            let Some(seen) = report.sources.get(usize::from(id.0)) else { continue };
            if !slot.server.pool || slot.looking || !is_useless(seen.verdict) {
                slot.useless = None;
                continue;
            }
            let since = *slot.useless.get_or_insert(report.raw);
            let interval = Span::from_secs_f64(f64::from(seen.poll_log2).exp2());
            if report.raw - since >= USELESS_FOR.max(interval.times(USELESS_POLLS)) {
                slot.useless = None;
                given_up.push(*id);
            }
        }
        for source in given_up {
            if let Some(address) = self.address(source) {
                self.shunned.retain(|shunned| *shunned != address);
                self.shunned.push(address);
                let excess = self.shunned.len().saturating_sub(MAX_SHUNNED);
                self.shunned.drain(..excess);
            }
            self.resolve(source);
        }
    }

    fn connect(
        &mut self,
        engine: &mut Engine,
        now: Timestamp<Raw>,
        source: SourceId,
        address: SocketAddr,
    ) {
        let Some(slot) = self.slots.get_mut(&source) else { return };
        (slot.found, slot.named) = (true, Some(address));
        if slot.address.replace(address) != Some(address) {
            (slot.heard_of, slot.useless) = (false, None);
            info!(source.name = %slot.server.name, source.addr = %address,
                "{} is asked at {address}", slot.server.name);
        }
        engine.handle_resolved(now, source, address.to_string());
    }
}

/// Whether another address of the pool would be better.
fn is_useless(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Falseticker | Verdict::Unreachable => true,
        Verdict::Unusable(why) => !matches!(
            why,
            Unusable::NoAnswerYet
                | Unusable::Noselect
                | Unusable::Offline
                | Unusable::MinSources
                | Unusable::Oscillator
        ),
        Verdict::Selected | Verdict::Combined | Verdict::Outlier => false,
    }
}

async fn look_up(source: SourceId, name: ServerName) -> Resolved {
    let mut backoff = Backoff::new(RETRY_LEAST, RETRY_MOST);
    let mut told = false;
    loop {
        let lookup = tokio::net::lookup_host((name.host(), name.port()));
        let problem = match timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(found)) => {
                let mut addresses: Vec<SocketAddr> = Vec::new();
                for address in found.take(MAX_ADDRESSES) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                if !addresses.is_empty() {
                    return Resolved { source, addresses };
                }
                "it has no address".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {LOOKUP_TIMEOUT:?}"),
        };
        if !std::mem::replace(&mut told, true) {
            warn!(source.name = %name, "cannot look {name} up ({problem}); trying again");
        }
        sleep(backoff.next(u32::MAX)).await;
    }
}

#[cfg(test)]
mod tests;
