//! The operating system: clocks, kernel time state, step notices and stamped UDP sockets.
//!
//! The only module that may use `unsafe`, and the only one that reads real clocks. One file can set a
//! clock, [`adjust`], and it is called with discipline only.

pub mod adjust;
pub mod alarm;
pub mod cancel;
pub mod clock;
pub mod memory;
pub mod nic;
pub mod phc;
pub mod pps;
mod readiness;
pub mod route;
pub mod shm;
pub mod timex;
pub mod udp;
