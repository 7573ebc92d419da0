//! How often somebody may try a password.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Attempts within [`WINDOW`] from one address; see [`network`].
const ATTEMPTS_PER_IP: u32 = 20;
/// Attempts within [`WINDOW`] at one name from one address. By pair, so that nobody can lock another
/// person out from elsewhere.
const ATTEMPTS_PER_NAME: u32 = 8;
const WINDOW: Duration = Duration::from_secs(300);
/// Entries kept: about 1 MB. Beyond, the oldest are forgotten: whoever fills the table must not lock others
/// out.
const ENTRIES: usize = 8192;

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Ip(IpAddr),
    Name(IpAddr, String),
}

#[derive(Debug)]
struct Count {
    since: Instant,
    attempts: u32,
}

/// Counts of recent attempts.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    counts: HashMap<Key, Count>,
}

impl Table {
    /// Counts an attempt under `key`; whether it is within `limit`.
    fn within(&mut self, now: Instant, key: Key, limit: u32) -> bool {
        if !self.counts.contains_key(&key) {
            self.make_room();
        }
        let count = self.counts.entry(key).or_insert(Count { since: now, attempts: 0 });
        if now.saturating_duration_since(count.since) >= WINDOW {
            *count = Count { since: now, attempts: 0 };
        }
        count.attempts = count.attempts.saturating_add(1);
        count.attempts <= limit
    }

    /// Forgets the oldest eighth of a full table: one at a time would cost a walk through all each time.
    fn make_room(&mut self) {
        if self.counts.len() < ENTRIES {
            return;
        }
        let mut since: Vec<Instant> = self.counts.values().map(|count| count.since).collect();
        let (_, last, _) = since.select_nth_unstable(ENTRIES / 8);
        self.counts.retain(|_, count| count.since > *last);
    }
}

/// What one person is taken to hold: an IPv4 address or, of IPv6, the 64 bits that a network hands out.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
        v4 => v4,
    }
}

impl Limiter {
    /// Counts an attempt at `now`; whether it may go ahead.
    pub(crate) fn admit(&self, now: Instant, ip: IpAddr, name: &str) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(ip);
        table.within(now, Key::Ip(from), ATTEMPTS_PER_IP)
            && table.within(now, Key::Name(from, name.to_owned()), ATTEMPTS_PER_NAME)
    }

    /// A right password: the attempts before it were typing errors.
    pub(crate) fn forgive(&self, ip: IpAddr, name: &str) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(ip);
        table.counts.remove(&Key::Ip(from));
        table.counts.remove(&Key::Name(from, name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Proves that guessing stops, for the guesser only, and that time and success clear the count.
    #[test]
    fn guessing_is_slowed_and_others_are_not() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let admitted = (0..100).filter(|_| limiter.admit(now, A, "admin")).count();
        assert_eq!(admitted, ATTEMPTS_PER_NAME as usize);
        assert!(!limiter.admit(now, A, "other"), "the address as a whole is slowed");
        assert!(limiter.admit(now, B, "admin"), "nobody else is");
        let later = now + WINDOW;
        assert!(limiter.admit(later, A, "admin"));
        limiter.forgive(A, "admin");
        assert!((0..ATTEMPTS_PER_NAME).all(|_| limiter.admit(later, A, "admin")));
    }

    /// Proves that addresses beyond counting cost bounded memory and lock nobody out.
    #[test]
    fn memory_is_bounded() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for n in 0..3 * ENTRIES as u32 {
            let at = now + Duration::from_micros(n.into());
            assert!(limiter.admit(at, IpAddr::V4(n.into()), "x"), "{n}");
        }
        assert!(limiter.table.lock().unwrap().counts.len() <= ENTRIES);
    }

    /// Proves that the many addresses of one IPv6 network count as one, and another network's do not.
    #[test]
    fn ipv6_counts_by_network() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let admitted = (0..100)
            .filter(|n| limiter.admit(now, ip(&format!("2001:db8:0:1:{n:x}::{n:x}")), "admin"))
            .count();
        assert_eq!(admitted, ATTEMPTS_PER_NAME as usize);
        assert!(limiter.admit(now, ip("2001:db8:0:2::1"), "admin"));
        let mapped =
            (0..100).filter(|_| limiter.admit(now, ip("::ffff:192.0.2.1"), "admin")).count();
        assert_eq!(mapped, ATTEMPTS_PER_NAME as usize);
        assert!(!limiter.admit(now, A, "admin"), "the same address");
    }
}
