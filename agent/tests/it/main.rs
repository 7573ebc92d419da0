//! The agent as a whole: its library against a collector that speaks the real protocol, and its
//! binary against real time servers.

mod collector;
mod command;
mod delivery;
mod loopback;
mod spooling;
mod support;
