//! The ingest role: reports of agents, over gRPC, into the database, acknowledged after commit.
//!
//! One batch: [`connection`] (HTTP/2) → [`service`] → [`admission`] (not too many at once) → [`identity`] (whose
//! stream is it) → [`session`] (read, answer in order) → [`batch`] (which reports can be stored, and when they
//! were made) → [`writer`] (many sessions, one transaction) → the answer. Whatever is refused has a [`Reason`],
//! is told to the agent and counted.
//!
//! Bounds: a session has at most [`session::PIPELINE`] batches under way, all sessions together at most
//! [`writer::QUEUE_BYTES`]; beyond either the stream is not read, so that the agent's spool absorbs it.

mod admission;
mod agent;
mod batch;
mod connection;
mod grpc;
mod identity;
mod listener;
mod metrics;
mod quota;
mod reason;
mod refusals;
mod server;
mod service;
mod session;
mod sessions;
mod witness;
mod writer;

pub use listener::Listener;
pub use metrics::Metrics;
pub use reason::Reason;
pub use server::Server;
