//! Which sources smear a leap second, and how: by what their answers rule out.
//!
//! A smear is slower than the drift limit, so no clock looks wrong for it, and yet the source shows
//! up to a second of what is not UTC. Each source has a set of ways in which it may treat leap seconds:
//! all of them, unless the configuration says which. Around a leap second
//!
//! * its answers are taken with the hull of what those ways make of them: wide, but true;
//! * a way is ruled out when it makes of an answer what the source's own history, or the window of the
//!   majority, cannot be true together with. A source that announces the leap second steps;
//! * once one way is left, the source's answers are corrected by that shape, and are as narrow as ever.
//!
//! Sources that step and sources that smear are never in one window: the fewer of them are left out.
//! Where all smear, the window is that of UTC, corrected by the shape, and says so.

use alloc::vec::Vec;

use timebase::{Bounds, SmearState};

/// A set of ways to treat leap seconds; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Smears(u8);

/// What a source does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It shows UTC, leaps and all.
    Steps,
    /// It shows neither the time before the leap nor after it.
    Smears,
    /// One or the other.
    Unknown,
}

impl Smears {
    /// Any of them.
    pub(crate) const ANY: Self = Self(0b1111);

    /// This one alone.
    pub(crate) const fn only(smear: SmearState) -> Self {
        Self(1 << smear as u8)
    }

    /// Those in the set.
    pub(crate) fn kinds(self) -> impl Iterator<Item = SmearState> {
        SmearState::ALL.into_iter().filter(move |smear| self.0 & 1 << *smear as u8 != 0)
    }

    /// The only one, if there is only one.
    pub(crate) fn single(self) -> Option<SmearState> {
        if self.0.is_power_of_two() { self.kinds().next() } else { None }
    }

    /// Known to step.
    pub(crate) fn without_smears(self) -> Self {
        let steps = Self::only(SmearState::None);
        if self.0 & steps.0 == 0 { self } else { steps }
    }

    /// Without those that make of an answer what `known` excludes; unchanged if all do, for then it is
    /// not the smear that is wrong. `says`: what each makes of it, if anything.
    #[must_use]
    pub(crate) fn agreeing(
        self,
        known: Bounds,
        says: impl Fn(SmearState) -> Option<Bounds>,
    ) -> Self {
        let agrees = |smear: &SmearState| {
            says(*smear).is_none_or(|bounds| bounds.intersect(known).is_some())
        };
        let left = self.kinds().filter(agrees).fold(0, |set, smear| set | Self::only(smear).0);
        if left == 0 { self } else { Self(left) }
    }
}

/// What the majority of the sources does, of those of which it is known; stepping if they are equal in
/// number.
pub(crate) fn majority(treatments: &[Treatment]) -> Treatment {
    let count = |of| treatments.iter().filter(|treatment| **treatment == of).count();
    if count(Treatment::Smears) > count(Treatment::Steps) {
        Treatment::Smears
    } else {
        Treatment::Steps
    }
}

/// For each source whether it may not be in the window, because most others treat the leap second
/// otherwise.
pub(crate) fn outvoted(treatments: &[Treatment]) -> Vec<bool> {
    let most = majority(treatments);
    let other = |treatment: &Treatment| *treatment != Treatment::Unknown && *treatment != most;
    treatments.iter().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Span;

    /// Proves that ways are ruled out one by one, and that the last one stays.
    #[test]
    fn ways_are_ruled_out() {
        let known = Bounds::around(Span::from_millis(500), Span::MILLISECOND);
        let says = |smear: SmearState| Some(Bounds::point(smear.progress(Span::from_secs(31_250))));
        let left = Smears::ANY.agreeing(known, says);
        assert_eq!(left.kinds().collect::<Vec<_>>(), [SmearState::Quadratic, SmearState::Linear]);
        assert_eq!(left.single(), None);
        let quarter = Bounds::around(Span::from_millis(125), Span::MILLISECOND);
        let says = |smear: SmearState| Some(Bounds::point(smear.progress(Span::from_secs(15_625))));
        let one = left.agreeing(quarter, says);
        assert_eq!(one.single(), Some(SmearState::Quadratic));
        assert_eq!(one.agreeing(Bounds::point(Span::MIN), says), one);
    }

    /// Proves that the fewer are left out, that stepping wins a tie and that the undecided stay.
    #[test]
    fn the_fewer_are_left_out() {
        use Treatment::{Smears, Steps, Unknown};
        assert_eq!(outvoted(&[Steps, Smears, Steps]), [false, true, false]);
        assert_eq!(outvoted(&[Smears, Unknown, Smears, Steps]), [false, false, false, true]);
        assert_eq!(outvoted(&[Smears, Steps]), [true, false]);
        assert_eq!(outvoted(&[Smears, Smears]), [false, false]);
        assert_eq!(outvoted(&[]), [false; 0]);
    }
}
