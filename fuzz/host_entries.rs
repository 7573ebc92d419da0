//! What is fuzzed of the agent's shell: what other programs on the host wrote. See `entries.rs`.
#![allow(dead_code, reason = "each target uses one")]

use agent::foreign;
use agent::sources::{POLL, Server, ServerName};
use agent_core::RefclockTime;
use timebase::{Host, Span, Timestamp};

/// A datagram is a sample of a possible time, or none.
pub(crate) fn sock_sample(bytes: &[u8]) {
    sample(foreign::sock_sample(bytes));
}

/// A memory segment is a sample of a possible time, or none.
pub(crate) fn shm_sample(bytes: &[u8]) {
    sample(foreign::shm_sample(bytes));
}

fn sample(taken: Option<(Timestamp<Host>, RefclockTime)>) {
    if let Some((at, _)) = taken {
        // A pulse may be moved by half a second.
        assert!(at.as_ns() >= -Span::SECOND.as_ns());
    }
}

/// Servers have names that mean the same when written again, and options that go together.
pub(crate) fn chrony_conf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    foreign::chrony_conf(text).servers.iter().for_each(server);
}

/// As of `chrony.conf`.
pub(crate) fn timesyncd_conf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    foreign::timesyncd_conf(text).iter().for_each(server);
}

fn server(server: &Server) {
    assert_eq!(server.name.to_string().parse::<ServerName>().as_ref(), Ok(&server.name));
    assert_eq!(foreign::contradiction(server), None);
    for poll in [server.min_poll, server.max_poll].into_iter().flatten() {
        assert!(POLL.contains(&poll));
    }
}

/// Keys have numbers above zero, each its own.
pub(crate) fn chrony_keys(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for (id, key) in foreign::chrony_keys(text).unwrap_or_default() {
        assert!(id == key.id() && id > 0);
    }
}
