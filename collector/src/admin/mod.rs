//! What `truechimer user|sql-user|token|host|db` do. Answers go to standard output, remarks to standard error.

pub mod db;
pub mod hosts;
pub mod sql_users;
mod table;
pub mod tokens;
pub mod users;
