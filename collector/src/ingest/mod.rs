//! The ingest role: reports of agents, over gRPC, into the database.

mod listener;
mod server;

pub use listener::Listener;
pub use server::Server;
