//! The evaluate and notify roles on a real Postgres, telling a real HTTP receiver.

mod deliveries;
mod judgements;
mod world;
