//! How often somebody may try a password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Attempts within [`WINDOW`] from one address.
const ATTEMPTS_PER_IP: u32 = 20;
/// Attempts within [`WINDOW`] at one name from one address. By pair, so that nobody can lock another
/// person out from elsewhere.
const ATTEMPTS_PER_NAME: u32 = 8;
const WINDOW: Duration = Duration::from_secs(300);
/// Entries kept: about 1 MB. When full of fresh entries, strangers wait.
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
    counts: Mutex<HashMap<Key, Count>>,
}

impl Limiter {
    /// Counts an attempt; whether it may go ahead.
    pub(crate) fn admit(&self, ip: IpAddr, name: &str) -> bool {
        let now = Instant::now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() + 2 > ENTRIES {
            counts.retain(|_, count| now - count.since < WINDOW);
        }
        let full = counts.len() + 2 > ENTRIES;
        let mut within = |key: Key, limit: u32| {
            if full && !counts.contains_key(&key) {
                return false;
            }
            let count = counts.entry(key).or_insert(Count { since: now, attempts: 0 });
            if now - count.since >= WINDOW {
                *count = Count { since: now, attempts: 0 };
            }
            count.attempts = count.attempts.saturating_add(1);
            count.attempts <= limit
        };
        within(Key::Ip(ip), ATTEMPTS_PER_IP)
            && within(Key::Name(ip, name.to_owned()), ATTEMPTS_PER_NAME)
    }

    /// A right password: the attempts before it were typing errors.
    pub(crate) fn forgive(&self, ip: IpAddr, name: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(&Key::Ip(ip));
        counts.remove(&Key::Name(ip, name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Proves that guessing stops, for the guesser only, and that time and success clear the count.
    #[tokio::test(start_paused = true)]
    async fn guessing_is_slowed_and_others_are_not() {
        let limiter = Limiter::default();
        let admitted = (0..100).filter(|_| limiter.admit(A, "admin")).count();
        assert_eq!(admitted, ATTEMPTS_PER_NAME as usize);
        assert!(!limiter.admit(A, "other"), "the address as a whole is slowed");
        assert!(limiter.admit(B, "admin"), "nobody else is");
        tokio::time::advance(WINDOW).await;
        assert!(limiter.admit(A, "admin"));
        limiter.forgive(A, "admin");
        assert!((0..ATTEMPTS_PER_NAME).all(|_| limiter.admit(A, "admin")));
    }

    /// Proves that many names cost bounded memory.
    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let limiter = Limiter::default();
        for n in 0..3 * ENTRIES as u32 {
            limiter.admit(IpAddr::V4(n.into()), "x");
        }
        assert!(limiter.counts.lock().unwrap().len() <= ENTRIES);
    }
}
