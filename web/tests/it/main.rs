//! The pages against a real database, as a browser without scripts sees them. Needs DATABASE_URL of a
//! Postgres that may create databases.

mod data;
mod errors;
mod fleet;
mod live;
mod pages;
mod series;
mod sign_in;
mod site;
