use store::pages::At;
use timebase::Bounds;

use super::{Moment, Quantity, ends};

/// A named value with what the name means.
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    /// A word that `term` explains; empty: the name needs none.
    pub(crate) term: &'static str,
    pub(crate) value: String,
    pub(crate) exact: String,
}

pub(crate) fn fact(name: &'static str, term: &'static str, value: impl Into<String>) -> Fact {
    Fact { name, term, value: value.into(), exact: String::new() }
}

pub(crate) fn quantity(name: &'static str, term: &'static str, quantity: Option<Quantity>) -> Fact {
    match quantity {
        Some(Quantity { text, exact }) => Fact { name, term, value: text, exact },
        None => fact(name, term, "–"),
    }
}

pub(crate) fn moment(name: &'static str, term: &'static str, at: Option<At>, now: At) -> Fact {
    match at.map(|at| Moment::new(at, now)) {
        Some(at) => Fact { name, term, value: at.ago, exact: at.utc },
        None => fact(name, term, "–"),
    }
}

pub(crate) fn interval(name: &'static str, term: &'static str, bounds: Option<Bounds>) -> Fact {
    match bounds {
        Some(bounds) => {
            let (lo, hi) = ends(bounds);
            let value = format!("{} to {}", lo.text, hi.text);
            Fact { name, term, value, exact: format!("{} to {}", lo.exact, hi.exact) }
        }
        None => fact(name, term, "–"),
    }
}
