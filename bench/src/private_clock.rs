//! A clock for every client, whose true error is known here: see `bench/preload/private_clock.c`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::clock::{self, Moment};

const SOURCE: &str = include_str!("../preload/private_clock.c");
/// Every client's clock starts this far off, and its oscillator is this fast.
pub(crate) const START_S: f64 = 5e-3;
pub(crate) const FAST_PPM: f64 = 10.0;

const STATE_BYTES: usize = 72;
/// Reads of a state that is just being changed; a change takes well under a microsecond.
const TRIES: usize = 1000;

/// The compiled library to preload.
#[derive(Debug)]
pub(crate) struct Preload(PathBuf);

impl Preload {
    pub(crate) fn compile(folder: &Path) -> Result<Self> {
        let (source, library) = (folder.join("private_clock.c"), folder.join("private_clock.so"));
        std::fs::write(&source, SOURCE)?;
        let status = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lm", "-lpthread"])
            .status()
            .context("cc, the C compiler")?;
        ensure!(status.success(), "the private clock does not compile");
        Ok(Self(library))
    }

    /// What a process has to find in its environment to run on the clock kept in `state`.
    pub(crate) fn environment(&self, state: &Path, start_s: f64, ppm: f64) -> Vec<String> {
        vec![
            format!("LD_PRELOAD={}", self.0.display()),
            format!("PRIVATE_CLOCK_STATE={}", state.display()),
            format!("PRIVATE_CLOCK_OFFSET={start_s}"),
            format!("PRIVATE_CLOCK_PPM={ppm}"),
        ]
    }
}

/// The clock of one client, seen from outside.
#[derive(Debug)]
pub(crate) struct PrivateClock(File);

#[derive(Clone, Copy, Debug)]
struct State {
    raw0: i64,
    v0: i64,
    rate: f64,
    sent: u64,
}

impl PrivateClock {
    pub(crate) fn open(state: &Path) -> Result<Self> {
        Ok(Self(File::open(state).with_context(|| state.display().to_string())?))
    }

    /// The clock's true error at this moment, in seconds: positive when it is ahead.
    pub(crate) fn error_s(&self) -> Option<f64> {
        let state = self.state()?;
        let now = clock::moment();
        let since = (now.raw - state.raw0) as f64;
        Some(
            (state.v0 - now.realtime + (now.raw - state.raw0)) as f64 * 1e-9
                + since * (state.rate - 1.0) * 1e-9,
        )
    }

    /// The clock's true error when it showed `t_ns`, a moment ago.
    pub(crate) fn error_at_s(&self, t_ns: i64) -> Option<f64> {
        let state = self.state()?;
        let now: Moment = clock::moment();
        // raw(t) = raw0 + (t − v0) / rate; the machine's clocks keep their distance for a moment.
        let since = (t_ns - state.v0) as f64;
        let ahead = state.v0 - now.realtime + (now.raw - state.raw0);
        Some(ahead as f64 * 1e-9 + since * (1.0 - 1.0 / state.rate) * 1e-9)
    }

    /// NTP requests sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.state().map_or(0, |state| state.sent)
    }

    fn state(&self) -> Option<State> {
        (0..TRIES).find_map(|_| {
            let before = self.bytes()?;
            let after = self.bytes()?;
            let seq = u64_at(&before, 0);
            (seq.is_multiple_of(2) && seq > 0 && seq == u64_at(&after, 0)).then(|| State {
                raw0: u64_at(&before, 8).cast_signed(),
                v0: u64_at(&before, 16).cast_signed(),
                rate: f64::from_bits(u64_at(&before, 24)),
                sent: u64_at(&before, 64),
            })
        })
    }

    fn bytes(&self) -> Option<[u8; STATE_BYTES]> {
        let mut bytes = [0; STATE_BYTES];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        Some(bytes)
    }
}

fn u64_at(bytes: &[u8; STATE_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a process on a private clock sees the stated error, and that it is known outside.
    #[test]
    fn a_private_clock_is_as_far_off_as_stated() {
        let folder = tempfile::tempdir().unwrap();
        let preload = Preload::compile(folder.path()).unwrap();
        let state = folder.path().join("clock");
        let mut child = Command::new("env")
            .args(preload.environment(&state, -2.5, 0.0))
            .args(["sh", "-c", "date +%s%N; read _"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut shown = String::new();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut lines, &mut shown).unwrap();
        let clock = PrivateClock::open(&state).unwrap();
        let (error, at) = (clock.error_s(), clock.error_at_s(shown.trim().parse().unwrap()));
        for seen in [error.unwrap(), at.unwrap()] {
            assert!((seen + 2.5).abs() < 1e-3, "{seen} s off instead of -2.5");
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
