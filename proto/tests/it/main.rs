//! The wire stays readable: what a released agent sent still means the same.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod example;
mod garbage;
mod released;
