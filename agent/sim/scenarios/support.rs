//! What scenarios are built from.

use agent_sim::{HostConfig, Path, Server, SourceLink};
use timebase::{Span, Timestamp, Utc};

/// Two hours before the end of June 2027, when there may be a leap second.
pub(crate) const BEFORE_MIDNIGHT: Timestamp<Utc> =
    Timestamp::from_ns((1_814_400_000 - 7_200) * 1_000_000_000);

/// An ordinary host with these sources.
pub(crate) fn world(links: Vec<SourceLink>) -> HostConfig {
    HostConfig { links, ..HostConfig::default() }
}

/// A source on a local network.
pub(crate) fn source(name: &str, server: Server) -> SourceLink {
    SourceLink::new(name, Path::default(), server)
}

/// `count` honest sources on a local network.
pub(crate) fn good(count: usize) -> Vec<SourceLink> {
    (0..count).map(|n| source(&format!("good-{n}"), Server::default())).collect()
}

pub(crate) const fn us(n: i64) -> Span {
    Span::from_ns(n * 1000)
}

pub(crate) const fn ms(n: i64) -> Span {
    Span::from_millis(n)
}

pub(crate) const fn secs(n: i64) -> Span {
    Span::from_secs(n)
}

pub(crate) const fn minutes(n: i64) -> Span {
    Span::from_secs(60 * n)
}

pub(crate) const fn hours(n: i64) -> Span {
    Span::from_secs(3600 * n)
}
