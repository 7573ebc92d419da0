//! The wire stays readable: what a released agent sent still means the same.

mod example;
mod garbage;
mod released;
