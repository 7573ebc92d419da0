//! The pages against a real database, as a browser without scripts sees them. Needs DATABASE_URL of a
//! Postgres that may create databases.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod data;
mod errors;
mod fleet;
mod live;
mod pages;
mod series;
mod sign_in;
mod site;
mod storage;
