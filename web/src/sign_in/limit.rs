//! How often somebody may try a password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Attempts within [`WINDOW`] from one address.
const ATTEMPTS_PER_IP: u32 = 20;
/// Attempts within [`WINDOW`] at one name from one address. By pair, so that nobody can lock another
/// person out from elsewhere.
const ATTEMPTS_PER_NAME: u32 = 8;
const WINDOW: Duration = Duration::from_secs(300);
/// Entries kept: about 1 MB. When full of fresh entries, strangers wait.
const ENTRIES: usize = 8192;
const PRUNE_EVERY: Duration = Duration::from_secs(10);

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
    /// When old entries were last looked for: that costs a walk through all.
    pruned: Option<Instant>,
}

impl Table {
    /// Makes room if it can; whether there is room for another attempt.
    fn has_room(&mut self, now: Instant) -> bool {
        let full = |counts: &HashMap<_, _>| counts.len() + 2 > ENTRIES;
        let due = self.pruned.is_none_or(|at| now.saturating_duration_since(at) >= PRUNE_EVERY);
        if full(&self.counts) && due {
            self.counts.retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
            self.pruned = Some(now);
        }
        !full(&self.counts)
    }

    /// Counts an attempt under `key`; whether it is within `limit`.
    fn within(&mut self, now: Instant, has_room: bool, key: Key, limit: u32) -> bool {
        if !has_room && !self.counts.contains_key(&key) {
            return false;
        }
        let count = self.counts.entry(key).or_insert(Count { since: now, attempts: 0 });
        if now.saturating_duration_since(count.since) >= WINDOW {
            *count = Count { since: now, attempts: 0 };
        }
        count.attempts = count.attempts.saturating_add(1);
        count.attempts <= limit
    }
}

impl Limiter {
    /// Counts an attempt at `now`; whether it may go ahead.
    pub(crate) fn admit(&self, now: Instant, ip: IpAddr, name: &str) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = table.has_room(now);
        table.within(now, has_room, Key::Ip(ip), ATTEMPTS_PER_IP)
            && table.within(now, has_room, Key::Name(ip, name.to_owned()), ATTEMPTS_PER_NAME)
    }

    /// A right password: the attempts before it were typing errors.
    pub(crate) fn forgive(&self, ip: IpAddr, name: &str) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.counts.remove(&Key::Ip(ip));
        table.counts.remove(&Key::Name(ip, name.to_owned()));
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

    /// Proves that many names cost bounded memory.
    #[test]
    fn memory_is_bounded() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for n in 0..3 * ENTRIES as u32 {
            limiter.admit(now, IpAddr::V4(n.into()), "x");
        }
        assert!(limiter.table.lock().unwrap().counts.len() <= ENTRIES);
    }
}
