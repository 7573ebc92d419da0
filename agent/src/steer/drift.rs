use std::fs;
use std::path::{Path, PathBuf};

use agent_core::LearnedFrequency;
use tracing::warn;

use crate::identity::replace;

/// No crystal is off by more; a file that says so is damaged.
const MOST_PPM: f64 = 1_000.0;

/// The oscillator's correction, kept from one run to the next: one line, `ppm sigma-ppm`.
#[derive(Clone, Debug)]
pub struct DriftFile(PathBuf);

impl DriftFile {
    /// Does not touch the file yet.
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("drift"))
    }

    /// What an earlier run learned; nothing if there is no such file, or a damaged one.
    pub fn read(&self) -> Option<LearnedFrequency> {
        let text = fs::read_to_string(&self.0).ok()?;
        let mut words = text.split_whitespace();
        let mut ppm = || words.next()?.parse().ok().filter(|ppm: &f64| ppm.abs() <= MOST_PPM);
        let (value, sigma) = (ppm()?, ppm()?);
        Some(LearnedFrequency { ppb: value * 1e3, sigma_ppb: sigma.abs() * 1e3 })
    }

    pub(super) fn keep(&self, learned: LearnedFrequency) {
        let LearnedFrequency { ppb, sigma_ppb } = learned;
        let line = format!("{:.6} {:.6}\n", ppb / 1e3, sigma_ppb / 1e3);
        if let Err(error) = replace(&self.0, &line) {
            warn!("{}: {error}; the next start has to learn the frequency anew", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that what was learned comes back, and that a damaged file counts as none.
    #[test]
    fn the_drift_file_comes_back() {
        let dir = std::env::temp_dir().join(format!("truechimer-drift-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = DriftFile::new(&dir);
        assert_eq!(file.read(), None);
        file.keep(LearnedFrequency { ppb: -12_345.678, sigma_ppb: 9.0 });
        let read = file.read().unwrap();
        assert!((read.ppb + 12_345.678).abs() < 1e-3 && (read.sigma_ppb - 9.0).abs() < 1e-3);
        for damaged in ["", "x y", "1.0", "nan 1", "5000 1", "1 inf"] {
            fs::write(dir.join("drift"), damaged).unwrap();
            assert_eq!(file.read(), None, "{damaged:?}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
