//! How fast callers are let in. After a restart a whole fleet comes at once, and each session begins with
//! questions to the database. Those who must wait are told when to come back, each a little later than the
//! one before: so they come as fast as they can be let in, and nobody's turn depends on luck.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleet_proto::RETRY_AFTER_MS;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::config::ingest::Ingest;

/// After a pause so many seconds' worth of callers are let in at once.
const BURST: Duration = Duration::from_secs(1);
/// Nobody is sent away for longer. Beyond, turns are spread over the latter half of it.
const LONGEST: Duration = Duration::from_secs(60);

/// The door.
#[derive(Debug)]
pub(super) struct Admission {
    each: Duration,
    book: Mutex<Book>,
}

/// Until when the turns are taken: of those let in, and of those told to come back.
#[derive(Clone, Copy, Debug)]
struct Book {
    taken: Instant,
    promised: Instant,
}

impl Admission {
    pub(super) fn new(config: &Ingest) -> Self {
        let each = Duration::from_secs(1) / config.sessions_per_second.get();
        let now = Instant::now();
        Self { each, book: Mutex::new(Book { taken: now, promised: now }) }
    }

    /// Lets the caller in, or tells it when to come back.
    pub(super) fn ask(&self) -> Result<(), Status> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.ask(self.each, Instant::now(), random_fraction()).map_err(come_back)
    }
}

impl Book {
    fn ask(&mut self, each: Duration, now: Instant, random: f64) -> Result<(), Duration> {
        let taken = self.taken.max(now) + each;
        if taken <= now + BURST + each {
            self.taken = taken;
            return Ok(());
        }
        self.promised = self.promised.max(now + BURST) + each;
        let wait = self.promised - now;
        if wait > LONGEST {
            self.promised = now + LONGEST;
            return Err(LONGEST.mul_f64(0.5 + random / 2.0));
        }
        Err(wait)
    }
}

/// The answer to a caller that is to come back in so long.
pub(super) fn come_back(wait: Duration) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(RETRY_AFTER_MS, MetadataValue::from(wait.as_millis() as u64));
    let text = format!("too many callers at once; come back in {:.1} s", wait.as_secs_f64());
    Status::with_metadata(tonic::Code::Unavailable, text, metadata)
}

fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the last of a very long queue come back together, nothing else.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    const EACH: Duration = Duration::from_millis(1);

    /// Proves that a fleet of 20,000 which comes at once and does as it is told is inside as fast as the rate
    /// allows, a burst and then never more than the rate, and that nobody asks more than three times.
    #[test]
    fn a_herd_is_let_in_at_the_rate() {
        let start = Instant::now();
        let mut book = Book { taken: start, promised: start };
        let mut herd: BinaryHeap<_> = (0..20_000).map(|n| Reverse((start, n, 1))).collect();
        let mut inside = Vec::new();
        while let Some(Reverse((now, n, asked))) = herd.pop() {
            let random = f64::from(n) / 20_000.0;
            match book.ask(EACH, now, random) {
                Ok(()) => inside.push(now - start),
                Err(wait) => {
                    assert!(asked < 3, "host {n} is sent away again after {:?}", now - start);
                    // With the agents' own jitter.
                    herd.push(Reverse((now + wait.mul_f64(1.0 + random / 4.0), n, asked + 1)));
                }
            }
        }
        assert!(inside.last().unwrap() < &Duration::from_secs(26), "{:?}", inside.last());
        for window in inside.windows(2_002) {
            assert!(window[2_001] - window[0] >= Duration::from_secs(1), "faster than the rate");
        }
    }

    /// Proves that a queue too long for its end to be told keeps to the longest wait, and spreads.
    #[test]
    fn nobody_waits_longer_than_the_longest() {
        let start = Instant::now();
        let mut book = Book { taken: start, promised: start };
        let waits: Vec<_> = (0..200_000_u32)
            .filter_map(|n| book.ask(EACH, start, f64::from(n % 1_000) / 1_000.0).err())
            .collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        let late = waits[100_000..].iter().filter(|wait| **wait < LONGEST.mul_f64(0.75)).count();
        assert!((45_000..55_000).contains(&late), "{late} of the last come in the third quarter");
    }

    /// Proves that the answer carries its time where agents look for it.
    #[test]
    fn the_answer_says_when() {
        let status = come_back(Duration::from_millis(2_500));
        assert_eq!(status.metadata().get(RETRY_AFTER_MS).unwrap(), "2500");
        assert_eq!(status.message(), "too many callers at once; come back in 2.5 s");
    }
}
