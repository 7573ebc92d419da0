//! gRPC on one HTTP/2 stream: messages with their prefix in, messages and a status out.
//!
//! The library's own streams cost an idle session several buffers and boxes; these hold nothing while nothing
//! is under way.

use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use tonic::Status;

/// Before each message: an octet that says whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why nothing more can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A message is longer than is taken.
    TooLarge(String),
    /// What came is no message.
    Malformed(String),
    /// The connection or the stream broke, which is nobody's fault.
    HungUp,
}

/// A message, and how many octets it was.
#[derive(Debug)]
pub(super) struct Received<M> {
    pub(super) message: M,
    pub(super) octets: usize,
}

/// What a client sends on a stream.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    pieces: Pieces,
}

impl Incoming {
    /// Messages of up to `most` octets.
    pub(super) fn new(stream: RecvStream, most: usize) -> Self {
        Self { stream, pieces: Pieces { most, ..Pieces::default() } }
    }

    /// The next message; `None`: the client has no more to say.
    pub(super) fn poll_message<M: Message + Default>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Received<M>>, Broken>> {
        loop {
            if let Some(message) = self.pieces.next()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // Taken: the client may send as much again.
                    let _ = self.stream.flow_control().release_capacity(piece.len());
                    self.pieces.add(piece);
                }
                // How clients give up a call.
                Some(Err(error)) if error.reason() == Some(Reason::CANCEL) => {
                    return Poll::Ready(Ok(None));
                }
                Some(Err(_)) => return Poll::Ready(Err(Broken::HungUp)),
                None if self.pieces.begun() => {
                    let text = "the stream ended within a message".to_owned();
                    return Poll::Ready(Err(Broken::Malformed(text)));
                }
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// As [`Self::poll_message`].
    pub(super) async fn message<M: Message + Default>(&mut self) -> Result<Option<M>, Broken> {
        let received = std::future::poll_fn(|cx| self.poll_message(cx)).await?;
        Ok(received.map(|received| received.message))
    }
}

/// Messages, cut out of the pieces in which they arrive. Mostly a piece is a message.
#[derive(Debug, Default)]
struct Pieces {
    most: usize,
    /// A message of which more is to come.
    part: Vec<u8>,
    /// What follows it, not looked at yet.
    rest: Bytes,
}

impl Pieces {
    /// Only after [`Self::next`] found nothing more.
    fn add(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty());
        self.rest = piece;
    }

    fn begun(&self) -> bool {
        !self.part.is_empty()
    }

    fn next<M: Message + Default>(&mut self) -> Result<Option<Received<M>>, Broken> {
        while !self.rest.is_empty() {
            if self.part.is_empty()
                && let Some(length) = self.length(&self.rest)?
                && self.rest.len() >= length
            {
                let whole = self.rest.split_to(length);
                if self.rest.is_empty() {
                    // Not even an empty view: it would keep the connection's buffer.
                    self.rest = Bytes::new();
                }
                return decode(whole).map(Some);
            }
            let wanted = self.length(&self.part)?.unwrap_or(PREFIX);
            let more = self.rest.split_to((wanted - self.part.len()).min(self.rest.len()));
            self.part.extend_from_slice(&more);
            if self.length(&self.part)? == Some(self.part.len()) {
                return decode(std::mem::take(&mut self.part).into()).map(Some);
            }
        }
        self.rest = Bytes::new();
        Ok(None)
    }

    /// Of the whole message that begins here with its prefix, once that can be told.
    fn length(&self, octets: &[u8]) -> Result<Option<usize>, Broken> {
        let Some((&[flag, a, b, c, d], _)) = octets.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if flag != 0 {
            let text = format!("a message with flag {flag}: none is to be compressed");
            return Err(Broken::Malformed(text));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.most {
            let text = format!("a message of {length} octets; {} at most", self.most);
            return Err(Broken::TooLarge(text));
        }
        Ok(Some(PREFIX + length))
    }
}

fn decode<M: Message + Default>(with_prefix: Bytes) -> Result<Received<M>, Broken> {
    let message = with_prefix.slice(PREFIX..);
    let octets = message.len();
    let message = M::decode(message).map_err(|error| Broken::Malformed(error.to_string()))?;
    Ok(Received { message, octets })
}

/// What a client is answered on a stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    /// Waits for the client to read.
    unsent: Bytes,
}

/// The client has gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Outgoing {
    /// Accepts the call.
    pub(super) fn open(mut respond: SendResponse<Bytes>) -> Result<Self, Gone> {
        let mut head = Response::new(());
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let stream = respond.send_response(head, false).map_err(|_| Gone)?;
        Ok(Self { stream, unsent: Bytes::new() })
    }

    /// Sends a message, or keeps it until [`Self::poll_sent`]; one at a time.
    pub(super) fn send(&mut self, message: &impl Message) -> Result<(), Gone> {
        debug_assert!(self.unsent.is_empty());
        let length = message.encoded_len();
        let mut octets = BytesMut::with_capacity(PREFIX + length);
        octets.put_u8(0);
        octets.put_u32(length as u32);
        message.encode_raw(&mut octets);
        self.unsent = octets.freeze();
        self.stream.reserve_capacity(self.unsent.len());
        self.send_some()
    }

    /// Ready when all has been taken by the connection.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !self.unsent.is_empty() {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => self.send_some()?,
                Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_some(&mut self) -> Result<(), Gone> {
        let room = self.stream.capacity().min(self.unsent.len());
        if room > 0 {
            let some = self.unsent.split_to(room);
            self.stream.send_data(some, false).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// As [`Self::poll_sent`].
    pub(super) async fn sent(&mut self) -> Result<(), Gone> {
        std::future::poll_fn(|cx| self.poll_sent(cx)).await
    }

    /// Ends the call. What waits for the client to read is given up.
    pub(super) fn end(&mut self, status: &Status) {
        let mut trailers = HeaderMap::with_capacity(2);
        if status.add_header(&mut trailers).is_ok() {
            // Whoever has gone learns nothing more.
            let _ = self.stream.send_trailers(trailers);
        }
    }
}

/// Ends a call that was not accepted.
pub(super) fn refuse(mut respond: SendResponse<Bytes>, status: Status) {
    let _ = respond.send_response(status.into_http(), true);
}

#[cfg(test)]
mod tests;
