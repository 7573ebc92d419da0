//! The engine as a whole, against servers made of real packets.

mod bench;
mod faults;
mod laws;
mod leaps;
mod packets;
mod system_clock;
