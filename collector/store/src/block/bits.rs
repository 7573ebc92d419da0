//! A string of bits, as Postgres's `bit varying` holds it: the first bit is the highest of the first byte.

/// Bits being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    /// As the database gave them.
    pub fn from_bytes(bytes: Vec<u8>, len: usize) -> Option<Self> {
        (bytes.len() == len.div_ceil(8)).then_some(Self { bytes, len })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last byte is filled up with zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends the lowest `width` bits of `value`, the highest first.
    pub(super) fn push(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            let used = (self.len % 8) as u32;
            if used == 0 {
                self.bytes.push(0);
            }
            let take = (8 - used).min(left);
            let part = (value >> (left - take)) & ((1 << take) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part as u8) << (8 - used - take);
            }
            self.len += take as usize;
            left -= take;
        }
    }

    /// The `width` bits from `at`; none where there are fewer.
    pub(super) fn get(&self, at: usize, width: u32) -> Option<u64> {
        if at.checked_add(width as usize)? > self.len {
            return None;
        }
        let (mut value, mut at, mut left) = (0, at, width);
        while left > 0 {
            let used = (at % 8) as u32;
            let take = (8 - used).min(left);
            let part = self.bytes[at / 8] >> (8 - used - take) & (0xff >> (8 - take));
            value = value << take | u64::from(part);
            at += take as usize;
            left -= take;
        }
        Some(value)
    }
}
