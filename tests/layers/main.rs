//! The rules of the house, checked against its own sources: who may depend on whom, what licences
//! come in, where clocks and unsafe code live, that words and files stay in order.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod citus;
mod dependencies;
mod documents;
mod licences;
mod metadata;
mod sources;
mod sql;
