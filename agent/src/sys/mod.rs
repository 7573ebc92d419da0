//! The operating system: clocks, kernel time state, step notices and stamped UDP sockets.
//!
//! The only module that may use `unsafe`, and the only one that reads real clocks. It never calls
//! anything that sets one: there is no such function here to call.

pub mod alarm;
pub mod cancel;
pub mod clock;
mod readiness;
pub mod route;
pub mod timex;
pub mod udp;
