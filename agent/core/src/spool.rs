//! How reports lie on disk until they are acknowledged.

mod frame;

pub use frame::{FrameError, Frames, MAX_FRAME, SEGMENT_MAGIC, encode_frame};
