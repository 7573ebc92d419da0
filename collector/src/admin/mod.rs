//! What `truechimer user|token|host|db` do. Answers go to standard output, remarks to standard error.

pub mod db;
pub mod hosts;
mod table;
pub mod tokens;
pub mod users;
