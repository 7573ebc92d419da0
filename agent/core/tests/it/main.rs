//! The engine as a whole, against servers made of real packets.

mod bench;
mod faults;
mod laws;
mod packets;
mod system_clock;
