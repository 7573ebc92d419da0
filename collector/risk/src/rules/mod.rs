//! The rules, one file each. A new rule is its file, its `mod` line and its line in the registry.

pub mod drift;
pub mod log_skew;
pub mod silent;
#[cfg(test)]
mod tests;
pub mod token_skew;

use alloc::vec::Vec;

use crate::{Finding, FleetView};

macro_rules! registry {
    ($($(#[$doc:meta])* $rule:ident,)+) => {
        /// Every policy of every rule.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Policies {
            $($(#[$doc])* pub $rule: Vec<$rule::Policy>,)+
        }

        /// What every rule says about the fleet under every one of its policies.
        pub fn evaluate(view: &FleetView, policies: &Policies) -> Vec<Finding> {
            let mut findings = Vec::new();
            $(for policy in &policies.$rule {
                findings.extend($rule::evaluate(view, policy));
            })+
            findings
        }
    };
}

registry! {
    /// Is each clock within its budget?
    drift,
    /// Does each host still report?
    silent,
    /// Are fresh tokens refused, or do they expire early?
    token_skew,
    /// Do log lines of different hosts sort as things happened?
    log_skew,
}
