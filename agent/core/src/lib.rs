//! The agent's engine without its wires: time, packets and randomness go in as arguments, packets to
//! send and reports come out as values.
//!
//! Nothing here opens a socket, reads a clock or sleeps, so the same code runs under the real agent
//! and in a simulated fleet, and every run can be repeated from its seed. The entry is [`Engine`]; its
//! documentation has the order in which to call it.
//!
//! All bounds rest on the **raw** clock (CLOCK_MONOTONIC_RAW), which nobody steers: the engine models
//! `raw − UTC` and reads the system clock's error off `realtime − raw` only when it reports. A step of
//! the system clock is therefore visible at once, without a packet.
//!
//! It refuses to do: name resolution, touching a clock, trusting a packet that it did not ask for.
#![no_std]

extern crate alloc;

#[cfg(test)]
extern crate std;

mod config;
mod crossing;
mod discipline;
mod engine;
mod estimate;
mod events;
mod io;
mod leap;
mod nonces;
pub mod ntp;
pub mod nts;
mod random;
mod refclock;
mod refused;
mod select;
mod smear;
mod source;
pub mod spool;
mod step;
mod stray;

pub use config::{AuthConfig, EngineConfig, SourceConfig, SourceId, SourceOptions};
pub use discipline::{
    ClockStatus, DisciplineConfig, LearnedFrequency, Refusal, Steer, SteerError, Steering,
};
pub use engine::Engine;
pub use events::MAX_EVENTS;
pub use io::{Action, ClockReading, SendToken, Stamp};
pub use random::Random;
pub use refclock::{RefclockConfig, RefclockSample, RefclockTime};
pub use refused::Refused;
pub use select::{Region, region, region_tolerating};
