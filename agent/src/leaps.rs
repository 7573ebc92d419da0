//! The table of leap seconds on this host: found, checked, and read again every day.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use timebase::{LeapTable, Timestamp, Utc, hashed_part};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::sys::clock;

/// Where time zone packages put it.
const USUAL: [&str; 3] = [
    "/usr/share/zoneinfo/leap-seconds.list",
    "/usr/share/zoneinfo/leapseconds",
    "/usr/share/zoneinfo/right/leapseconds",
];
/// Packages replace it twice a year.
const READ_EVERY: Duration = Duration::from_secs(86_400);
/// A table has some kilobytes.
const MOST_BYTES: u64 = 1 << 20;

/// Which table to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TablePath {
    /// The first of the usual places that has one.
    #[default]
    Usual,
    /// None.
    Off,
    /// This one.
    At(PathBuf),
}

/// The table, now and whenever it changes. Reads once before it returns.
pub fn watch(path: TablePath) -> watch::Receiver<Option<LeapTable>> {
    let mut told = Told::default();
    let (sender, receiver) = watch::channel(told.load(&path));
    if path != TablePath::Off {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(READ_EVERY).await;
                if let Some(table) = told.load(&path) {
                    sender.send_if_modified(|now| now.replace(table.clone()) != Some(table));
                }
                if sender.is_closed() {
                    return;
                }
            }
        });
    }
    receiver
}

/// What was said of the table before, so that it is not said every day.
#[derive(Debug, Default)]
struct Told {
    last: String,
}

impl Told {
    fn load(&mut self, path: &TablePath) -> Option<LeapTable> {
        let tried: Vec<&Path> = match path {
            TablePath::Off => return None,
            TablePath::Usual => USUAL.iter().map(Path::new).filter(|path| path.exists()).collect(),
            TablePath::At(path) => vec![path],
        };
        let mut problem =
            "no table of leap seconds: they are known by majority of servers".to_owned();
        for path in tried {
            match read(path) {
                Ok(table) if table.is_expired(now()) => {
                    let file = path.display();
                    self.warn(format!(
                        "{file} has expired: coming leap seconds are known by majority of servers"
                    ));
                    return Some(table);
                }
                Ok(table) => {
                    self.last.clear();
                    info!("leap seconds by {}", path.display());
                    return Some(table);
                }
                Err(error) => problem = format!("{}: {error}", path.display()),
            }
        }
        self.warn(problem);
        None
    }

    fn warn(&mut self, text: String) {
        if text != self.last {
            warn!("{text}");
            self.last = text;
        }
    }
}

/// Good enough to tell a table that expired.
fn now() -> Timestamp<Utc> {
    Timestamp::from_ns(clock::realtime().as_ns())
}

fn read(path: &Path) -> Result<LeapTable, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MOST_BYTES {
        return Err("too large for a table of leap seconds".to_owned());
    }
    check(&fs::read_to_string(path).map_err(|error| error.to_string())?)
}

/// Parses a table, and checks its hash if it has one.
fn check(text: &str) -> Result<LeapTable, String> {
    let table = LeapTable::parse(text).map_err(|error| error.to_string())?;
    if let Some((hashed, expected)) = hashed_part(text) {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, hashed.as_bytes());
        let words = hash.as_ref().chunks_exact(4);
        let found = words.map(|word| u32::from_be_bytes(word.try_into().unwrap_or_default()));
        if !found.eq(expected) {
            return Err("its hash does not fit its entries".to_owned());
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published by the IERS, without most of its comments.
    const PUBLISHED: &str = include_str!("leaps/leap-seconds.list");

    /// Proves that a published table is taken, and one with a changed entry is not.
    #[test]
    fn the_hash_is_checked() {
        let table = check(PUBLISHED).unwrap();
        assert_eq!(table.tai_offset(Timestamp::from_ns(1_700_000_000_000_000_000)), Some(37));
        assert_eq!(table.leaps().count(), 27);
        let changed = PUBLISHED.replace("3692217600", "3692304000");
        assert_eq!(check(&changed).unwrap_err(), "its hash does not fit its entries");
    }

    /// Proves that a table which is missing or turned off is none.
    #[tokio::test]
    async fn without_a_table_there_is_none() {
        assert_eq!(*watch(TablePath::Off).borrow(), None);
        assert_eq!(*watch(TablePath::At("/nowhere".into())).borrow(), None);
    }
}
