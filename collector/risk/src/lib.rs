//! What breaks because of the clocks of a fleet: pure rules over intervals, and the life of an alert.
//!
//! [`FleetView`] is a snapshot of what is known, [`rules::evaluate`] compares it with [`Policies`] and
//! gives [`Finding`]s, [`alert::Alerts::step`] turns findings into [`Transition`]s worth telling
//! somebody. Time is an argument, text is a result: nothing here reads a clock, a socket or a
//! database, so every answer can be replayed from its snapshot.
//!
//! ```
//! use risk::{FleetView, Policies, rules};
//! use timebase::Timestamp;
//!
//! let start = Timestamp::from_ns(0);
//! let view = FleetView { reference_time: start, watching_since: start, hosts: vec![] };
//! assert!(rules::evaluate(&view, &Policies::default()).is_empty());
//! ```
#![no_std]

extern crate alloc;

pub mod alert;
mod attribution;
mod finding;
mod input;
mod pairs;
pub mod phrase;
pub mod rules;
mod selector;
mod share;

pub use alert::{Alerts, Raise, Reason, Track, Transition};
pub use finding::{Evidence, Finding, Value};
pub use input::{FleetView, HostView, HostWindow, SourceFact, rate_limit};
pub use rules::{Policies, drift, log_skew, silent, token_skew};
pub use selector::Selector;
pub use share::Rounding;
