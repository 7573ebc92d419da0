//! The vocabulary of time that every part of Truechimer shares.
//!
//! One idea, used everywhere: a clock reading is an **interval**. [`Bounds`] is what is certain about
//! a clock's *error* (clock − UTC: positive means the clock is ahead), [`ClockWindow`] is what is
//! certain about UTC at a moment, and [`Bounds::beyond`] compares an interval with a limit and gets one
//! of four [`Answer`]s. Every duration is a [`Span`] in integer nanoseconds and every instant a
//! [`Timestamp`] that carries its time scale in its type, so a subtraction across scales does not
//! compile:
//!
//! ```compile_fail
//! use timebase::{Raw, Timestamp, Utc};
//! let a: Timestamp<Utc> = Timestamp::from_ns(1);
//! let b: Timestamp<Raw> = Timestamp::from_ns(1);
//! let _ = a - b; // two scales: there is no difference without a model between them
//! ```
//!
//! This crate does no IO, reads no clock and needs no standard library.
#![no_std]

extern crate alloc;

mod answer;
mod bounds;
mod exchange;
mod ids;
mod leap;
mod rate;
mod report;
mod smear;
mod source;
mod span;
mod timestamp;
mod window;

pub use answer::Answer;
pub use bounds::Bounds;
pub use exchange::Exchange;
pub use ids::{BootId, HostId, ParseIdError, Seq};
pub use leap::{LeapSecond, LeapTable, LeapTableError, hashed_part};
pub use rate::{Ppb, RateBounds};
pub use report::{
    Discipliner, Event, EventKind, KernelClock, Report, Statistical, SyncState, WitnessStamps,
};
pub use source::{
    Authentication, Leap, SmearState, SourceKind, SourceReport, StampKind, Unusable, Verdict,
    reference_id_text,
};
pub use span::{ParseSpanError, Span};
pub use timestamp::{Host, Raw, Scale, Timestamp, Utc};
pub use window::{ClockWindow, Order};
