//! The messages of a light host, put together from parts that are encoded already, and the codec that
//! sends them as they are. The reader of answers is the generated one.

use fleet_proto::pb;
use prost::Message;
use prost::bytes::BufMut;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Key of a field with a length before it: number, then wire type 2.
const fn key(field: u8) -> u8 {
    field << 3 | 2
}

/// `AgentMessage.batch`, `Batch.reports`, `Report.sources`.
const BATCH: u8 = key(2);
const REPORTS: u8 = key(3);
const SOURCES: u8 = key(14);

/// A host sends little: the usual 8 KiB of room would be most of its memory.
const ROOM: usize = 512;
const YIELD: usize = 32 * 1024;

/// Appends a report to the reports of a batch; `sources` are encoded, and absent from `report`.
pub(super) fn put_report<'a>(
    into: &mut Vec<u8>,
    report: &pb::Report,
    sources: impl Iterator<Item = &'a [u8]> + Clone,
) {
    let of_source = |source: &[u8]| 1 + prost::length_delimiter_len(source.len()) + source.len();
    let length = report.encoded_len() + sources.clone().map(of_source).sum::<usize>();
    put_key(into, REPORTS, length);
    report.encode_raw(into);
    for source in sources {
        put_key(into, SOURCES, source.len());
        into.extend_from_slice(source);
    }
}

/// The message that carries a batch; `reports` are encoded, and absent from `batch`.
pub(super) fn batch(batch: &pb::Batch, reports: &[u8]) -> Vec<u8> {
    let length = batch.encoded_len() + reports.len();
    let mut message = Vec::with_capacity(length + 8);
    put_key(&mut message, BATCH, length);
    batch.encode_raw(&mut message);
    message.extend_from_slice(reports);
    message
}

/// The first message of a session.
pub(super) fn hello(hello: pb::Hello) -> Vec<u8> {
    pb::AgentMessage { message: Some(pb::agent_message::Message::Hello(hello)) }.encode_to_vec()
}

fn put_key(into: &mut Vec<u8>, key: u8, length: usize) {
    into.put_u8(key);
    prost::encode_length_delimiter(length, into).expect("invariant: a Vec has room");
}

/// Sends octets, reads [`pb::CollectorMessage`]s.
#[derive(Debug, Default)]
pub(super) struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = pb::CollectorMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, YIELD)
    }
}

impl Decoder for Encoded {
    type Item = pb::CollectorMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let message = pb::CollectorMessage::decode(from);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, YIELD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that messages put together from encoded parts are those that the generated code makes.
    #[test]
    fn parts_make_the_whole() {
        let source = |name: &str| pb::Source { name: name.to_owned(), ..pb::Source::default() };
        let sources = [source("a"), source(&"b".repeat(200))];
        let report = pb::Report { seq: 9, raw_ns: -1, ..pb::Report::default() };
        let header = pb::Batch { batch: 3, boot_id: vec![7; 16], ..pb::Batch::default() };

        let encoded: Vec<_> = sources.iter().map(Message::encode_to_vec).collect();
        let mut reports = Vec::new();
        for _ in 0..2 {
            put_report(&mut reports, &report, encoded.iter().map(Vec::as_slice));
        }
        let message = batch(&header, &reports);

        let whole = pb::Report { sources: sources.to_vec(), ..report };
        let whole = pb::Batch { reports: vec![whole.clone(), whole], ..header };
        let whole = pb::agent_message::Message::Batch(whole);
        assert_eq!(
            pb::AgentMessage::decode(&message[..]).unwrap(),
            pb::AgentMessage { message: Some(whole) }
        );
    }
}
