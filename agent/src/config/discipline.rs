use agent_core::{DisciplineConfig, LearnedFrequency};
use serde::{Deserialize, Serialize};
use timebase::{Ppb, Span};

use super::{ConfigError, text};

/// A slower slew would not keep up with a crystal; a faster one the kernel does not do.
const SLEW_PPM: std::ops::RangeInclusive<u32> = 50..=90_000;

/// The `[discipline]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented once, in agent.default.toml")]
pub struct Discipline {
    pub enabled: bool,
    #[serde(with = "text::span")]
    pub step_threshold: Span,
    pub step_limit: i32,
    #[serde(with = "text::span_or_off")]
    pub panic_threshold: Option<Span>,
    pub max_slew_ppm: u32,
    pub rtc_sync: bool,
}

impl Discipline {
    /// What the engine is told, with what an earlier run learned; `None`: it only observes.
    pub fn engine(&self, learned: Option<LearnedFrequency>) -> Option<DisciplineConfig> {
        self.enabled.then(|| DisciplineConfig {
            step_threshold: self.step_threshold,
            step_limit: u32::try_from(self.step_limit).ok(),
            panic_threshold: self.panic_threshold,
            max_slew: Ppb::from_ppm(self.max_slew_ppm.into()),
            rtc_sync: self.rtc_sync,
            learned,
        })
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wrong =
            |key, problem: &str| Err(ConfigError::Value { key, problem: problem.to_owned() });
        if self.step_threshold < Span::ZERO {
            return wrong("discipline.step-threshold", "must not be negative");
        }
        if self.step_limit < -1 {
            return wrong("discipline.step-limit", "must be -1 or more");
        }
        if self.panic_threshold.is_some_and(|limit| limit <= self.step_threshold) {
            return wrong("discipline.panic-threshold", "must be above step-threshold, or \"off\"");
        }
        if !SLEW_PPM.contains(&self.max_slew_ppm) {
            return wrong("discipline.max-slew-ppm", "must be from 50 to 90000");
        }
        Ok(())
    }
}
