//! The connections that hosts share, and how they break all at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use agent::uplink::collector_endpoint;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::options::Options;

/// Connections that the hosts share if nobody says how many, and hosts on one: a collector takes a
/// thousand streams each.
const FEWEST: usize = 4;
const HOSTS_EACH: usize = 500;
/// Files that the process has open besides connections.
const OTHER_FILES: u64 = 64;
/// Connections from one local address: there are 28,000 ports.
const PORTS: usize = 20_000;
/// Window of a host that does not read: answers to a few batches fill it.
const NARROW: u32 = 256;

/// All connections of the fleet. They are made when first used, and again after they broke.
#[derive(Debug)]
pub(crate) struct Connections {
    endpoint: Endpoint,
    /// On loopback there are many local addresses, and so more ports.
    spread: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    channels: Vec<Channel>,
    era: CancellationToken,
}

impl Connections {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let (ca_file, allow_plain) = (options.ca_file.as_deref(), options.allow_plain);
        let endpoint = collector_endpoint(&options.collector, ca_file, allow_plain)?;
        let fewest = FEWEST.max(options.hosts.div_ceil(HOSTS_EACH));
        let count = options.connections.unwrap_or(fewest).clamp(1, options.hosts.max(1));
        allow_files(count + options.light.slow_reader)?;
        let spread = is_loopback_v4(endpoint.uri());
        let inner =
            Inner { channels: channels(&endpoint, spread, count), era: CancellationToken::new() };
        Ok(Self { endpoint, spread, inner: Mutex::new(inner) })
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().channels.len()
    }

    /// The connection of this host, and what ends when all connections break.
    pub(crate) fn of(&self, number: usize) -> (Channel, CancellationToken) {
        let inner = self.lock();
        (inner.channels[number % inner.channels.len()].clone(), inner.era.clone())
    }

    /// A connection for one host that does not read: others must not suffer.
    pub(crate) fn narrow(&self) -> (Channel, CancellationToken) {
        let endpoint = self.endpoint.clone().initial_stream_window_size(NARROW);
        (endpoint.connect_lazy(), self.lock().era.clone())
    }

    /// Breaks every connection.
    pub(crate) fn storm(&self) {
        let mut inner = self.lock();
        let count = inner.channels.len();
        inner.channels = channels(&self.endpoint, self.spread, count);
        std::mem::take(&mut inner.era).cancel();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn channels(endpoint: &Endpoint, spread: bool, count: usize) -> Vec<Channel> {
    let channel = |number: usize| {
        let block = u8::try_from(1 + number / PORTS).unwrap_or(u8::MAX);
        let from = spread.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, block)));
        endpoint.clone().local_address(from).connect_lazy()
    };
    (0..count).map(channel).collect()
}

fn is_loopback_v4(uri: &Uri) -> bool {
    let address = uri.host().and_then(|host| host.parse::<Ipv4Addr>().ok());
    address.is_some_and(|address| address.is_loopback())
}

/// Each connection is an open file.
fn allow_files(connections: usize) -> Result<()> {
    let needed = connections as u64 + OTHER_FILES;
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).context("limit of open files")?;
    if needed > most {
        bail!(
            "{connections} connections need {needed} open files, of {most} allowed: ulimit -Hn {needed}"
        );
    }
    if needed > now {
        setrlimit(Resource::RLIMIT_NOFILE, needed, most).context("limit of open files")?;
    }
    Ok(())
}
