//! NTP version 4 (RFC 5905), the client's side: packets, eras, kisses, polling.

mod client;
mod era;
mod key;
mod kiss;
mod packet;
mod poll;

pub(crate) use client::{Answer, Client};
pub use era::{from_utc, to_utc};
pub use key::{KeyAlgorithm, SymmetricKey};
pub use kiss::Kiss;
pub use packet::{Mode, PACKET_LEN, Packet, short_format};
