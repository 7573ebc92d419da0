//! The agent as a whole: its library against a collector that speaks the real protocol, and its
//! binary against real time servers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod collector;
mod command;
mod corpus;
mod delivery;
mod discipline;
mod loopback;
mod output;
mod refclocks;
mod spooling;
mod step;
mod support;
