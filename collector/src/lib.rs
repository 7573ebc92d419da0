//! The Truechimer server as a library: [`app::App`] runs any set of roles inside one process.
//!
//! `ingest` takes reports from agents into Postgres, `evaluate` judges the fleet and opens alerts,
//! `notify` delivers them, and the web role serves the pages of crate `web`. [`database`] opens the
//! database they share (by default a private cluster, [`postgres`]), [`observe`] shows metrics and
//! health, [`admin`] holds the commands for people who run it all.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
pub mod evaluate;
pub mod ingest;
pub mod notify;
pub mod observe;
mod output;
pub mod postgres;
pub mod scram;
pub mod secret;
pub mod shutdown;
