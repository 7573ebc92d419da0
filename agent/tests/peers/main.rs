//! The agent's binary against the time servers that people run: every window must contain the truth,
//! which is known, because server and client read the same clock.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod chronyd;
mod key_servers;
mod ntpd;
mod nts;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "the agent's other tests need all of it")]
mod support;
mod watch;
