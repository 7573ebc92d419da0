//! A deterministic world around the real agent core: oscillators, networks, servers, system clocks.
//!
//! Everything follows from a seed and from the true time handed to [`SimHost::advance`]; nothing here
//! reads a clock. The engine inside is the very one the agent runs, fed with real NTP packets: only
//! what surrounds it is simulated. [`fleet`] is the demonstration fleet, as data.

pub mod fleet;
pub mod soak;

mod auth;
mod clock;
mod config;
mod host;
mod leap;
mod naive;
mod network;
mod oscillator;
mod rng;
mod server;
mod trial;

pub use auth::Auth;
pub use clock::{Steering, SystemClock};
pub use config::{Fault, HostConfig, SourceLink};
pub use host::{SimHost, SimReport};
pub use leap::Leap;
pub use network::{Congestion, Outages, Path, Queueing, Route};
pub use oscillator::{Crystal, Oscillator, RateStep, Swing};
pub use rng::Rng;
pub use server::{Answering, Lie, Server};
pub use trial::{Tally, Trial};
