use alloc::vec::Vec;
use core::fmt;

/// The first eight octets of every segment file: the name and, last, the format's version.
pub const SEGMENT_MAGIC: [u8; 8] = *b"TCspool\x01";

/// The largest payload. A report with a hundred sources and a full event log stays far below; a longer
/// length on disk is damage, and must not make the reader allocate it.
pub const MAX_FRAME: usize = 1 << 20;

/// Length and checksum in front of each payload, both big-endian `u32`.
const HEADER: usize = 8;

/// Appends one frame: payload length, CRC-32 of length and payload, payload.
///
/// # Errors
/// [`FrameError::TooLong`] beyond [`MAX_FRAME`]; `out` is unchanged.
pub fn encode_frame(out: &mut Vec<u8>, payload: &[u8]) -> Result<(), FrameError> {
    if payload.len() > MAX_FRAME {
        return Err(FrameError::TooLong { at: out.len(), length: payload.len() });
    }
    // MAX_FRAME fits easily.
    let length = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, payload).to_be_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Covers the length too, so that a run of zeros (a file grown but never written) is not a sequence of
/// empty frames.
fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Why reading a segment ended early. `at` is the offset up to which the segment is good: cut it there
/// and go on writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The segment does not begin with [`SEGMENT_MAGIC`].
    Magic,
    /// The last frame was not written to its end: a crash. Everything before is good.
    Torn {
        /// Where the torn frame begins.
        at: usize,
    },
    /// A frame's checksum is wrong: the disk, or a crash between length and payload.
    Checksum {
        /// Where the damaged frame begins.
        at: usize,
    },
    /// A frame claims, or is asked, to be longer than [`MAX_FRAME`].
    TooLong {
        /// Where it begins.
        at: usize,
        /// The length claimed.
        length: usize,
    },
}

impl FrameError {
    /// How much of the segment is good.
    pub const fn good_until(self) -> usize {
        match self {
            Self::Magic => 0,
            Self::Torn { at } | Self::Checksum { at } | Self::TooLong { at, .. } => at,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a spool segment of this version"),
            Self::Torn { at } => write!(f, "the frame at octet {at} was not written to its end"),
            Self::Checksum { at } => write!(f, "the frame at octet {at} is damaged"),
            Self::TooLong { at, length } => {
                write!(f, "the frame at octet {at} claims {length} octets, more than {MAX_FRAME}")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Reads the frames of a segment, from the magic on: `(offset, payload)` each, and at most one error,
/// last.
///
/// ```
/// use agent_core::spool::{Frames, SEGMENT_MAGIC, encode_frame};
/// let mut segment = SEGMENT_MAGIC.to_vec();
/// encode_frame(&mut segment, b"one").unwrap();
/// encode_frame(&mut segment, b"two").unwrap();
/// let frames: Result<Vec<_>, _> = Frames::new(&segment).collect();
/// assert_eq!(frames.unwrap(), [(8, &b"one"[..]), (19, &b"two"[..])]);
/// ```
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    segment: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> Frames<'a> {
    /// The frames of `segment`.
    pub const fn new(segment: &'a [u8]) -> Self {
        Self { segment, at: 0, done: false }
    }

    /// Up to where the segment has been read without an error: the next frame's offset.
    pub const fn offset(&self) -> usize {
        self.at
    }

    fn frame(&mut self) -> Result<Option<(usize, &'a [u8])>, FrameError> {
        if self.at == 0 {
            if !self.segment.starts_with(&SEGMENT_MAGIC) {
                return Err(self.bad_magic());
            }
            self.at = SEGMENT_MAGIC.len();
        }
        let at = self.at;
        let rest = &self.segment[at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Err(FrameError::Torn { at });
        };
        let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
            return Err(FrameError::Torn { at });
        };
        let payload_len = u32::from_be_bytes(*length) as usize;
        if payload_len > MAX_FRAME {
            return Err(FrameError::TooLong { at, length: payload_len });
        }
        let payload = rest.get(..payload_len).ok_or(FrameError::Torn { at })?;
        if checksum(*length, payload) != u32::from_be_bytes(*sum) {
            return Err(FrameError::Checksum { at });
        }
        self.at = at + HEADER + payload_len;
        Ok(Some((at, payload)))
    }

    /// A magic cut short was torn, not foreign.
    fn bad_magic(&self) -> FrameError {
        if SEGMENT_MAGIC.starts_with(self.segment) {
            FrameError::Torn { at: 0 }
        } else {
            FrameError::Magic
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(usize, &'a [u8]), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let frame = self.frame();
        self.done = !matches!(frame, Ok(Some(_)));
        frame.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOADS: [&[u8]; 4] = [b"first", b"", b"third, a longer one", b"x"];

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = SEGMENT_MAGIC.to_vec();
        let mut ends = alloc::vec![bytes.len()];
        for payload in PAYLOADS {
            encode_frame(&mut bytes, payload).unwrap();
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_tail_torn_at_any_octet_loses_only_the_frame_it_tore() {
        let (bytes, ends) = segment();
        for cut in 0..=bytes.len() {
            let whole = ends[1..].iter().filter(|end| **end <= cut).count();
            let good = ends.iter().rev().find(|end| **end <= cut).copied().unwrap_or(0);
            let read: Vec<_> = Frames::new(&bytes[..cut]).collect();
            let payloads: Vec<_> = read.iter().flatten().map(|(_, payload)| *payload).collect();
            assert_eq!(payloads, PAYLOADS[..whole], "cut at {cut}");
            let error = read.iter().find_map(|frame| frame.err());
            assert_eq!(error.map_or(cut, FrameError::good_until), good, "cut at {cut}");
            assert_eq!(error.is_some(), cut != good || cut == 0, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let (bytes, _) = segment();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Frames::new(&damaged).any(|frame| frame.is_err()), "octet {at}");
        }
    }

    #[test]
    fn zeros_are_not_empty_frames() {
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.resize(4096, 0);
        let read: Vec<_> = Frames::new(&bytes).collect();
        assert_eq!(read, [Err(FrameError::Checksum { at: 8 })]);
    }

    #[test]
    fn a_payload_beyond_the_limit_is_refused_before_it_is_written() {
        let mut out = Vec::new();
        let long = alloc::vec![0; MAX_FRAME + 1];
        assert!(encode_frame(&mut out, &long).is_err());
        assert!(out.is_empty());
    }
}
