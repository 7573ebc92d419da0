//! How often the system clock was or may have been set in this boot, kept across restarts of the agent.
//!
//! Reports count steps so that two readings of one count are of one clock. A restarted agent that began
//! at zero again would give a count a second meaning, so the count is on disk before a report with it
//! is, with what the clock was set to at that time: if that is another one at the next start, a step while
//! no agent looked is told.

use std::fs;
use std::path::{Path, PathBuf};

use timebase::{BootId, Span};
use tracing::warn;

use crate::identity::replace;

/// A smaller change between two runs may be the noise of reading two clocks. The next run counts on in any
/// case; only as an event it is not told.
const LEAST_STEP: Span = Span::from_millis(2);

/// Where a former run in this boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Steps counted by then.
    pub steps: u32,
    /// How far the clock was stepped since, if it was; positive forward.
    pub stepped: Option<Span>,
}

/// The count on disk: one line `boot steps set-to-ns`.
#[derive(Debug)]
pub struct StepRecord {
    path: PathBuf,
    boot: BootId,
    /// The count on disk, if this run wrote it.
    noted: Option<u32>,
    failing: bool,
}

impl StepRecord {
    /// Does not touch the file yet.
    pub fn new(state_dir: &Path, boot: BootId) -> Self {
        Self { path: state_dir.join("steps"), boot, noted: None, failing: false }
    }

    /// What a former run in this boot left, where the clock is now set to `set_to`
    /// ([`crate::sys::clock::set_to`]).
    pub fn resumed(&self, set_to: Option<Span>) -> Option<Resumed> {
        let text = fs::read_to_string(&self.path).ok()?;
        let mut words = text.split_whitespace();
        let boot: BootId = words.next()?.parse().ok()?;
        let steps = words.next()?.parse().ok()?;
        let before = Span::from_ns(words.next()?.parse().ok()?);
        let by = set_to.map(|now| now - before).filter(|by| by.abs() > LEAST_STEP);
        (boot == self.boot).then_some(Resumed { steps, stepped: by })
    }

    /// Notes the count of a report before the report is kept. Writes only when it has changed.
    pub fn note(&mut self, steps: u32, set_to: Option<Span>) {
        let Some(set_to) = set_to.filter(|_| self.noted != Some(steps)) else { return };
        let line = format!("{} {steps} {}\n", self.boot, set_to.as_ns());
        match replace(&self.path, &line) {
            Ok(()) => (self.noted, self.failing) = (Some(steps), false),
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.display();
                    warn!("{path}: {error}; a restarted agent would not count on from {steps}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the next run in the same boot counts on and sees a step between the runs, in both
    /// directions; that noise is none; and that another boot begins anew.
    #[test]
    fn the_count_survives_a_restart_but_not_a_reboot() {
        let dir = std::env::temp_dir().join(format!("truechimer-steps-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let (boot, set_to) = (BootId::from_bytes([1; 16]), Span::from_secs(1_000));
        let again = || StepRecord::new(&dir, boot);
        assert_eq!(again().resumed(Some(set_to)), None);
        let mut record = again();
        record.note(2, Some(set_to));
        record.note(3, Some(set_to));
        let resumed = |by: Span| again().resumed(Some(set_to + by)).unwrap();
        assert_eq!(resumed(Span::MILLISECOND), Resumed { steps: 3, stepped: None });
        for by in [Span::from_millis(700), Span::from_millis(-700)] {
            assert_eq!(resumed(by), Resumed { steps: 3, stepped: Some(by) });
        }
        let rebooted = StepRecord::new(&dir, BootId::from_bytes([2; 16]));
        assert_eq!(rebooted.resumed(Some(set_to)), None);
        fs::write(dir.join("steps"), "damaged").unwrap();
        assert_eq!(again().resumed(Some(set_to)), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
