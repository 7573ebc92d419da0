//! The wire between agents and collectors: the only home of generated protobuf types.
//!
//! [`pb`] is generated from `fleet/v1/*.proto`; [`convert`] turns it into the vocabulary of
//! [`timebase`] and back; [`lazy`] is how a collector reads batches. Going out never fails; coming in,
//! everything that the vocabulary cannot hold is a typed [`convert::Refusal`].

mod codec;
pub mod convert;
pub mod lazy;

/// Metadata of a refused call: in so many milliseconds the caller is to come back. A hint; agents that do not
/// know it come back by their own back-off.
pub const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Generated code. Nothing outside the edges of agent and collector names these types.
#[expect(missing_docs, clippy::all, reason = "generated from the commented .proto files")]
pub mod pb {
    tonic::include_proto!("fleet.v1");
}
