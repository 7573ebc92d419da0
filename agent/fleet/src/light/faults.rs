//! What goes wrong, and for whom. Dice are seeded: the same fleet has the same bad luck.

use agent_sim::Rng;

use super::model::{Garbage, rng_of};
use crate::options::LightOptions;

/// What a host is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ordinary,
    /// Sends, and does not read what it is answered.
    SlowReader,
    /// Sends what can never be stored.
    Garbage(Garbage),
}

/// The slow readers come first, then those that send garbage, of every kind in turn.
pub(crate) fn role(number: usize, options: &LightOptions) -> Role {
    match number.checked_sub(options.slow_reader) {
        None => Role::SlowReader,
        Some(place) if place < options.garbage => {
            Role::Garbage(Garbage::ALL[place % Garbage::ALL.len()])
        }
        Some(_) => Role::Ordinary,
    }
}

/// The luck of one host.
#[derive(Debug)]
pub(crate) struct Dice {
    rng: Rng,
    drop: f64,
    duplicate: f64,
}

impl Dice {
    pub(crate) fn new(number: usize, seed: u64, options: &LightOptions) -> Self {
        Self {
            // Not the luck that made the host.
            rng: rng_of(number, !seed),
            drop: options.drop_percent / 100.0,
            duplicate: options.duplicate_percent / 100.0,
        }
    }

    /// Whether the session breaks before the answer to this batch.
    pub(crate) fn drops(&mut self) -> bool {
        self.drop > 0.0 && self.rng.chance(self.drop)
    }

    /// Whether this batch is sent again although it was acknowledged.
    pub(crate) fn duplicates(&mut self) -> bool {
        self.duplicate > 0.0 && self.rng.chance(self.duplicate)
    }

    /// Uniform in 0..1.
    pub(crate) fn share(&mut self) -> f64 {
        self.rng.unit()
    }

    /// Uniform over all of u32.
    pub(crate) fn bits(&mut self) -> u32 {
        (self.rng.bits() >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use clap::Parser;

    fn options(more: &[&str]) -> LightOptions {
        let all = ["truechimer-fleet", "--collector=http://[::1]:1", "--state-dir=/"];
        Options::parse_from(all.iter().chain(more)).light
    }

    /// Proves that as many hosts as asked for are of each role, and the rest are ordinary.
    #[test]
    fn roles_are_given_as_asked() {
        let options = options(&["--slow-reader=2", "--garbage=4"]);
        let roles: Vec<_> = (0..10).map(|number| role(number, &options)).collect();
        assert_eq!(roles[..2], [Role::SlowReader; 2]);
        assert_eq!(roles[2], Role::Garbage(Garbage::EmptyWindow));
        assert_eq!(roles[5], Role::Garbage(Garbage::EmptyWindow));
        assert_eq!(roles[6..], [Role::Ordinary; 4]);
    }

    /// Proves that dice fall in the share asked for, the same way each time, and never if not asked.
    #[test]
    fn dice_fall_as_asked() {
        let falls = |options: &LightOptions| {
            let mut dice = Dice::new(3, 9, options);
            (0..10_000).filter(|_| dice.drops()).count()
        };
        let some = options(&["--drop-percent=5"]);
        assert_eq!(falls(&some), falls(&some));
        assert!((400..600).contains(&falls(&some)), "{}", falls(&some));
        assert_eq!(falls(&options(&[])), 0);
    }
}
