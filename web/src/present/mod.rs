//! Values as people read them: text for the cell, the exact value on hover.

mod band;
mod bar;
mod fact;
mod mark;
mod number;
mod terms;
mod time;
mod words;

pub(crate) use band::Band;
pub(crate) use bar::{Age, Bar};
pub(crate) use fact::{Fact, fact, interval, moment, quantity};
pub(crate) use mark::Mark;
pub(crate) use number::{
    Quantity, bounds, bytes, ends, magnitude, rate, rate_limit, rates, signed,
};
pub(crate) use risk::phrase::{ahead_or_behind, count};
pub(crate) use terms::term;
pub(crate) use time::Moment;
pub(crate) use words::{
    discipliner_words, kind_words, no_source, reason_words, refusal_words, smear_words,
    state_words, status_words, tier_words,
};
