//! The engine as a whole, against servers made of real packets.

mod authentication;
mod bench;
mod corpus;
mod faults;
mod interleaved;
mod laws;
mod leaps;
mod nts;
mod options;
mod packets;
mod peer;
mod refclocks;
mod system_clock;
mod trouble;
