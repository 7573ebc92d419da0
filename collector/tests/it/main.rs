//! The collector with its own Postgres and real gRPC clients: nothing here is a stand-in.

mod cluster;
mod commands;
mod exactly_once;
mod hostile;
mod identity;
mod partitions;
mod stop;
mod support;
