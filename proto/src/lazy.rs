//! Batches as a collector reads them: sources, the larger part of a report, are left as they came, for only
//! those of a batch's newest report say how the host is now.
//!
//! On the wire these are the messages of `fleet/v1/ingest.proto`.

use prost::DecodeError;
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use timebase::{Report, SourceReport, Verdict};

use crate::convert::{MAX_SOURCES, Refusal};
use crate::pb;

/// [`pb::AgentMessage`], where it is a batch.
#[derive(Clone, PartialEq, Message)]
pub struct AgentMessage {
    /// `None`: it is something else.
    #[prost(message, optional, tag = "2")]
    pub batch: Option<Batch>,
}

/// [`pb::Batch`], what a collector needs of it.
#[derive(Clone, PartialEq, Message)]
pub struct Batch {
    /// Number of the batch.
    #[prost(uint64, tag = "1")]
    pub batch: u64,
    /// The boot the reports were made in.
    #[prost(bytes = "vec", tag = "2")]
    pub boot_id: Vec<u8>,
    /// In order of seq.
    #[prost(message, repeated, tag = "3")]
    pub reports: Vec<LazyReport>,
    /// Raw clock when it was sent.
    #[prost(int64, optional, tag = "5")]
    pub sent_raw_ns: Option<i64>,
    /// Stamps of an earlier batch.
    #[prost(message, optional, tag = "6")]
    pub witness: Option<pb::Witness>,
    /// Raw clock of the boot that runs, where that is another.
    #[prost(int64, optional, tag = "7")]
    pub running_raw_ns: Option<i64>,
}

/// [`pb::Report`] with its sources not decoded yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LazyReport {
    /// Without sources.
    pub report: pb::Report,
    /// One [`pb::Source`] each.
    pub sources: Sources,
}

/// Sources that are not decoded yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources(Vec<Bytes>);

/// The field `sources` of [`pb::Report`].
const SOURCES: u32 = 14;

impl Message for LazyReport {
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            SOURCES => {
                prost::encoding::bytes::merge_repeated(wire_type, &mut self.sources.0, buf, ctx)
            }
            _ => self.report.merge_field(tag, wire_type, buf, ctx),
        }
    }

    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.report.encode_raw(buf);
        prost::encoding::bytes::encode_repeated(SOURCES, &self.sources.0, buf);
    }

    fn encoded_len(&self) -> usize {
        self.report.encoded_len()
            + prost::encoding::bytes::encoded_len_repeated(SOURCES, &self.sources.0)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl LazyReport {
    /// The report without its sources, and how many of these take part.
    ///
    /// # Errors
    /// The vocabulary cannot hold it.
    pub fn head(self) -> Result<(Report, usize, Sources), Refusal> {
        if self.sources.0.len() > MAX_SOURCES {
            return Err(Refusal::TooMany("sources", MAX_SOURCES));
        }
        let report = Report::try_from(self.report)?;
        let mut used = 0;
        for source in &self.sources.0 {
            used += usize::from(verdict(source)?.takes_part());
        }
        Ok((report, used, self.sources))
    }
}

impl Sources {
    /// Decodes them.
    ///
    /// # Errors
    /// One of them is no source, or the vocabulary cannot hold it.
    pub fn decode(self) -> Result<Vec<SourceReport>, Refusal> {
        let decode = |octets| pb::Source::decode(octets).map_err(|_| Refusal::Garbled("source"));
        self.0.into_iter().map(|octets| decode(octets)?.try_into()).collect()
    }
}

/// Of a source, nothing but its verdict.
#[derive(Clone, PartialEq, Message)]
struct Judged {
    #[prost(string, tag = "3")]
    verdict: String,
}

fn verdict(source: &Bytes) -> Result<Verdict, Refusal> {
    let judged = Judged::decode(&source[..]).map_err(|_| Refusal::Garbled("source"))?;
    Verdict::from_word(&judged.verdict).ok_or(Refusal::UnknownWord("verdict"))
}
