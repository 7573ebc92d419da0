//! Which sources can be believed: the interval algorithm, and what is said of each source.
//!
//! **Fault model.** Of n sources that take part, at most f = ⌊(n − 1)/2⌋ are wrong. Then true time lies
//! where at least n − f bounds overlap (Marzullo), and a source that touches no such place is proved
//! wrong. Removing it changes nothing: n and f shrink by the same one, so n − f stays, and it covered
//! nothing of the region. One pass is therefore the fixed point. The window is the region's hull.
//!
//! n counts the sources that answer and those that have not had their chance to (after a start, or an
//! outage of all): a liar that answers first is not believed before the others were heard.
//!
//! The configuration may ask to tolerate fewer (`faults`): then f is the least from there up to the minority
//! with which bounds overlap at all. Fewer make a narrower window: with f = 0 it is what all agree on, as
//! RFC 5905 section 11.2.1 has it, and a liar whose claim overlaps with the others' is believed.
//!
//! So one source is believed; two must overlap; three outvote one; no overlap of n − f means that there
//! is no majority, and then there is no window rather than a wrong one.

mod assess;

use alloc::vec::Vec;

use timebase::{Bounds, Span};

pub(crate) use assess::{Assessment, assess, preferred};

/// Where at least n − f bounds overlap: one interval or several, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    pieces: Vec<Bounds>,
}

impl Region {
    /// The smallest interval that covers the region: the window.
    pub fn hull(&self) -> Option<Bounds> {
        self.pieces.iter().copied().reduce(Bounds::hull)
    }

    /// Whether `bounds` can be true together with a majority.
    pub fn touches(&self, bounds: Bounds) -> bool {
        self.pieces.iter().any(|piece| piece.intersect(bounds).is_some())
    }
}

/// The region of the majority, or `None` if there is none (or no vote).
pub fn region(votes: &[Bounds]) -> Option<Region> {
    region_of(votes, votes.len().checked_sub(1)? / 2)
}

/// The region where as few as possible are wrong, but at least `faults` of them, and a minority at most.
pub fn region_tolerating(votes: &[Bounds], faults: usize) -> Option<Region> {
    let minority = votes.len().checked_sub(1)? / 2;
    (faults.min(minority)..=minority).find_map(|wrong| region_of(votes, wrong))
}

/// Where all but `wrong` of the votes overlap.
fn region_of(votes: &[Bounds], wrong: usize) -> Option<Region> {
    let needed = votes.len() - wrong;
    // At equal places starts go before ends: intervals that only touch do overlap.
    let mut edges: Vec<(Span, bool)> =
        votes.iter().flat_map(|vote| [(vote.lo(), false), (vote.hi(), true)]).collect();
    edges.sort_unstable();
    let mut pieces = Vec::new();
    let mut covered = 0;
    let mut entered = None;
    for (place, is_end) in edges {
        if is_end {
            covered -= 1;
            if let Some(start) = entered.take_if(|_| covered < needed) {
                pieces.extend(Bounds::new(start, place));
            }
        } else {
            covered += 1;
            if covered >= needed && entered.is_none() {
                entered = Some(place);
            }
        }
    }
    (!pieces.is_empty()).then_some(Region { pieces })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(votes: &[(i64, i64)]) -> Vec<Bounds> {
        let ns = Span::from_ns;
        votes.iter().map(|(lo, hi)| Bounds::new(ns(*lo), ns(*hi)).unwrap()).collect()
    }

    fn hull(of: &[(i64, i64)]) -> Option<(i64, i64)> {
        let hull = region(&votes(of))?.hull()?;
        Some((hull.lo().as_ns(), hull.hi().as_ns()))
    }

    #[test]
    fn majorities_by_number_of_sources() {
        assert_eq!(hull(&[]), None);
        assert_eq!(hull(&[(1, 5)]), Some((1, 5)));
        assert_eq!(hull(&[(1, 5), (4, 9)]), Some((4, 5)));
        assert_eq!(hull(&[(1, 5), (6, 9)]), None);
        assert_eq!(hull(&[(1, 5), (5, 9)]), Some((5, 5)));
        assert_eq!(hull(&[(1, 5), (4, 9), (100, 101)]), Some((4, 5)));
        assert_eq!(hull(&[(1, 2), (4, 9), (100, 101)]), None);
        // Four tolerate one.
        assert_eq!(hull(&[(0, 4), (1, 5), (2, 6), (80, 81)]), Some((2, 4)));
        assert_eq!(hull(&[(0, 4), (1, 5), (80, 83), (80, 81)]), None);
    }

    #[test]
    fn fewer_tolerated_faults_make_a_narrower_window() {
        let of = |of: &[(i64, i64)], faults| {
            let hull = region_tolerating(&votes(of), faults)?.hull()?;
            Some((hull.lo().as_ns(), hull.hi().as_ns()))
        };
        let all = [(-2, 10), (-10, 2), (-8, 8)];
        assert_eq!(of(&all, 0), Some((-2, 2)));
        assert_eq!(of(&all, 1), Some((-8, 8)));
        assert_eq!(of(&all, 9), Some((-8, 8)), "never more than a minority");
        let liar = [(-2, 10), (-10, 2), (-8, 8), (80, 81)];
        assert_eq!(of(&liar, 0), Some((-2, 2)), "one more, because all do not overlap");
        assert_eq!(of(&[(0, 1), (80, 81)], 0), None);
    }

    #[test]
    fn a_region_of_two_pieces_counts_whole() {
        // Two of three overlap in [2, 3] and in [7, 8]: truth may be in either.
        let three = [(0, 3), (2, 8), (7, 10)];
        assert_eq!(hull(&three), Some((2, 8)));
        let region = region(&votes(&three)).unwrap();
        assert!(!region.touches(votes(&[(4, 6)])[0]), "between the pieces is not in the region");
        assert!(region.touches(votes(&[(3, 6)])[0]));
    }
}
