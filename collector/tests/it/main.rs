//! The collector with its own Postgres and real gRPC clients: nothing here is a stand-in.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cluster;
mod commands;
mod database;
mod epochs;
mod exactly_once;
mod external;
mod facts;
mod guard;
mod hostile;
mod identity;
mod on_citus;
mod partitions;
mod rollups;
mod several;
mod source_rows;
mod sql_users;
mod stop;
mod support;
mod tiers;
mod views;
