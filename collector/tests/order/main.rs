//! What schema `fleet` says of UTC and of order, against simulated hosts whose truth is known, on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod agents;
mod examples;
mod history;
mod tiers;
mod truth;
mod world;
