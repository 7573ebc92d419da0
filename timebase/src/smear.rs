use crate::{SmearState, Span};

/// How long the smears that begin at the leap take: chrony's `smoothtime 400 0.001024 leaponly`, and
/// fbclock's.
const SHORT: Span = Span::from_secs(62_500);
/// Half of the smear from noon to noon.
const HALF_DAY: Span = Span::from_secs(43_200);

impl SmearState {
    /// When a smear of this kind runs, as times since the leap: its beginning and its end.
    ///
    /// `None` for a source that steps. A noon-to-noon smear lasts a second longer than the day, because
    /// the leap second is in it.
    pub const fn runs(self) -> Option<(Span, Span)> {
        match self {
            Self::None => None,
            Self::Quadratic | Self::Linear => Some((Span::ZERO, SHORT)),
            Self::Linear24h => {
                Some((Span::from_ns(-HALF_DAY.as_ns()), Span::from_secs(43_200 + 1)))
            }
        }
    }

    /// How much of a leap second has been worked in at `since` the leap: from zero before the smear to
    /// exactly one second at its end, never falling. A source that steps has all of it from the leap on.
    ///
    /// ```
    /// use timebase::{SmearState, Span};
    /// let at = |smear: SmearState, s| smear.progress(Span::from_secs(s)).as_ns();
    /// assert_eq!(at(SmearState::Linear, 15_625), 250_000_000);
    /// assert_eq!(at(SmearState::Quadratic, 15_625), 125_000_000);
    /// assert_eq!(at(SmearState::None, 0), 1_000_000_000);
    /// ```
    pub fn progress(self, since: Span) -> Span {
        let Some((from, until)) = self.runs() else {
            return if since.is_negative() { Span::ZERO } else { Span::SECOND };
        };
        let lasts = i128::from((until - from).as_ns());
        let gone = i128::from((since.max(from).min(until) - from).as_ns());
        let second = i128::from(Span::SECOND.as_ns());
        let done = match self {
            // The rate rises evenly to 32 ppm at the middle and falls as evenly.
            Self::Quadratic if gone * 2 <= lasts => second * 2 * gone * gone / (lasts * lasts),
            Self::Quadratic => {
                let left = lasts - gone;
                second - second * 2 * left * left / (lasts * lasts)
            }
            _ => second * gone / lasts,
        };
        // Between zero and one second.
        Span::from_ns(done as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMEARED: [SmearState; 3] =
        [SmearState::Quadratic, SmearState::Linear, SmearState::Linear24h];

    proptest! {
        /// Proves that no smear ever goes back, and that each is done at its end and not begun before.
        #[test]
        fn smears_only_go_forward(at in -60_000_000_000_000i64..80_000_000_000_000, step in 0i64..1_000_000_000_000) {
            for smear in SmearState::ALL {
                let (a, b) = (Span::from_ns(at), Span::from_ns(at + step));
                prop_assert!(smear.progress(a) <= smear.progress(b));
                prop_assert!(smear.progress(a) >= Span::ZERO && smear.progress(a) <= Span::SECOND);
            }
        }

        /// Proves that no smear is faster than 32 ppm, so that none looks like a broken clock.
        #[test]
        fn smears_are_slow(at in -60_000_000_000_000i64..80_000_000_000_000) {
            for smear in SMEARED {
                let over = Span::from_secs(100);
                let gained = smear.progress(Span::from_ns(at) + over) - smear.progress(Span::from_ns(at));
                prop_assert!(gained <= Span::from_ns(3_200_001), "{smear:?}: {gained}");
            }
        }
    }

    /// Proves the values at the ends, the middle and the quarters, where the two short shapes are an
    /// eighth of a second apart.
    #[test]
    fn known_values() {
        let at = |smear: SmearState, s: i64| smear.progress(Span::from_secs(s)).as_ns();
        for smear in SMEARED {
            let (from, until) = smear.runs().unwrap();
            assert_eq!(smear.progress(from), Span::ZERO);
            assert_eq!(smear.progress(until), Span::SECOND);
            assert_eq!(smear.progress(from + (until - from).half()), Span::from_millis(500));
            assert_eq!(smear.progress(Span::MIN), Span::ZERO);
            assert_eq!(smear.progress(Span::MAX), Span::SECOND);
        }
        assert_eq!(at(SmearState::Quadratic, 15_625), 125_000_000);
        assert_eq!(at(SmearState::Quadratic, 46_875), 875_000_000);
        assert_eq!(at(SmearState::Linear, 46_875), 750_000_000);
        assert_eq!(at(SmearState::None, -1), 0);
    }
}
