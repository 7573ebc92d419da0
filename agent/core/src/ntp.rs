//! NTP version 4 (RFC 5905), the client's side: packets and what may follow their header (RFC 7822),
//! shared keys (RFC 8573), eras, kisses, polling, interleaved mode (RFC 9769).

mod authentication;
mod client;
mod era;
mod extension;
mod interleave;
mod key;
mod kiss;
mod packet;
mod poll;

pub(crate) use client::{Answer, Answers, Client};
pub use era::{from_utc, to_utc};
pub(crate) use extension::push_field;
pub use extension::{Field, Trailer, fields};
pub use key::{KeyAlgorithm, SymmetricKey};
pub use kiss::Kiss;
pub use packet::{Mode, PACKET_LEN, Packet, short_format};
pub(crate) use poll::PollNeed;
