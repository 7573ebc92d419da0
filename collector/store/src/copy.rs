//! Postgres's binary COPY format (manual, COPY, "Binary Format"), as much of it as the store speaks.

/// Signature, flags and length of extensions.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After the last row.
pub(crate) const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// 2000-01-01, where `timestamptz` counts from, in µs since 1970.
pub(crate) const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// Appends one field.
pub(crate) fn field(data: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).expect("invariant: no field has gigabytes");
    data.extend_from_slice(&length.to_be_bytes());
    data.extend_from_slice(bytes);
}

/// Appends a field that may be null.
pub(crate) fn optional<const N: usize>(data: &mut Vec<u8>, bytes: Option<[u8; N]>) {
    match bytes {
        Some(bytes) => field(data, &bytes),
        None => data.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

/// Appends a field of 8 bytes.
pub(crate) fn int8(data: &mut Vec<u8>, value: i64) {
    field(data, &value.to_be_bytes());
}

/// Appends a field of 4 bytes.
pub(crate) fn int4(data: &mut Vec<u8>, value: i32) {
    field(data, &value.to_be_bytes());
}

/// Appends a field of 2 bytes.
pub(crate) fn int2(data: &mut Vec<u8>, value: i16) {
    field(data, &value.to_be_bytes());
}

/// Rows of whole numbers out of a stream of pieces that end where they like.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    data: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Rows {
    /// Adds what came.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.data.drain(..self.at);
        self.at = 0;
        self.data.extend_from_slice(piece);
    }

    /// The next whole row, into `values`; false: more must come, or it was the last.
    pub(crate) fn next(&mut self, values: &mut [Option<i64>]) -> bool {
        self.try_next(values).is_some()
    }

    fn try_next(&mut self, values: &mut [Option<i64>]) -> Option<()> {
        let mut at = self.at;
        if !self.begun {
            at += HEADER.len();
        }
        let fields = i16::from_be_bytes(self.take(&mut at)?);
        if usize::try_from(fields) != Ok(values.len()) {
            return None;
        }
        for value in values {
            let length = i32::from_be_bytes(self.take(&mut at)?);
            *value = match length {
                2 => Some(i16::from_be_bytes(self.take(&mut at)?).into()),
                4 => Some(i32::from_be_bytes(self.take(&mut at)?).into()),
                8 => Some(i64::from_be_bytes(self.take(&mut at)?)),
                _ => None,
            };
        }
        self.begun = true;
        self.at = at;
        Some(())
    }

    fn take<const N: usize>(&self, at: &mut usize) -> Option<[u8; N]> {
        let bytes = self.data.get(*at..*at + N)?.try_into().ok()?;
        *at += N;
        Some(bytes)
    }
}
