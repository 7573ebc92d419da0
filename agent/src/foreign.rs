//! The decoders of what other programs on this host write, each by itself: for the fuzz targets, and for
//! the tests that replay their corpus.

use agent_core::RefclockTime;
use timebase::{Host, Timestamp};

use crate::keys::{self, Keys};
use crate::refclock;
use crate::sources::{Chosen, Server, chrony, timesyncd};

/// A datagram to chrony's SOCK: when it was taken, and what time that was.
pub fn sock_sample(bytes: &[u8]) -> Option<(Timestamp<Host>, RefclockTime)> {
    refclock::sock_sample(bytes)
}

/// The octets of ntpd's SHM, likewise.
pub fn shm_sample(bytes: &[u8]) -> Option<(Timestamp<Host>, RefclockTime)> {
    refclock::shm_sample(bytes.try_into().ok()?)
}

/// The text of `chrony.conf`, without the files it includes.
pub fn chrony_conf(text: &str) -> Chosen {
    chrony::parse(text)
}

/// The text of `chrony.keys`; `None` if a line of it is no key.
pub fn chrony_keys(text: &str) -> Option<Keys> {
    keys::parse(text).ok().map(|file| file.keys)
}

/// The text of `timesyncd.conf`.
pub fn timesyncd_conf(text: &str) -> Vec<Server> {
    timesyncd::parse(&[(text.to_owned(), ())]).map_or_else(Vec::new, |((), servers)| servers)
}

/// What is wrong with a server's options together.
pub fn contradiction(server: &Server) -> Option<&'static str> {
    server.contradiction()
}
