//! The wire between agents and collectors: the only home of generated protobuf types.
//!
//! [`pb`] is generated from `fleet/v1/*.proto`; [`convert`] turns it into the vocabulary of
//! [`timebase`] and back. Going out never fails; coming in, everything that the vocabulary cannot
//! hold is a typed [`convert::Refusal`].

pub mod convert;

/// Generated code. Nothing outside the edges of agent and collector names these types.
#[expect(missing_docs, clippy::all, reason = "generated from the commented .proto files")]
pub mod pb {
    tonic::include_proto!("fleet.v1");
}
