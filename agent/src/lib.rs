//! The agent: the shell around [`agent_core`] that owns sockets, clocks, disk and network.
//!
//! The time path (sockets, stamps, clocks, engine) runs on one thread ([`timekeeper`]); everything
//! slow (spool, gRPC, HTTP) runs on another runtime and hears of it through bounded channels. It
//! observes, unless discipline is on: without it, the process cannot set a clock.

pub mod cli;
pub mod config;
pub mod control;
pub mod discipliner;
mod exchange;
pub mod foreign;
mod hardware;
pub mod identity;
pub mod keys;
pub mod leaps;
pub mod local;
mod nts;
pub mod observe;
mod privilege;
mod refclock;
pub mod run;
mod slots;
pub mod sources;
pub mod spool;
pub mod status;
pub mod steer;
pub mod steps;
pub mod sys;
pub mod timekeeper;
pub mod uplink;
pub mod view;
mod watch;
