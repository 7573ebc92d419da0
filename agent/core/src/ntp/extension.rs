//! What may follow the 48 octets of an NTP header: extension fields and a message authentication code
//! (RFC 7822).

use alloc::vec::Vec;

use super::PACKET_LEN;
use crate::Refused;

const HEADER: usize = 4;
/// Shortest extension field.
const MIN_FIELD: usize = 16;
/// What is left of a packet and is no longer than this is a MAC: a key id with 0, 128 or 160 bits.
const MAC_LENGTHS: [usize; 3] = [4, 20, 24];

/// One extension field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field type.
    pub kind: u16,
    /// What it holds, with padding.
    pub body: &'a [u8],
    /// Where it begins, counted from the beginning of what was parsed.
    pub at: usize,
}

/// The parts of a packet after its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer<'a> {
    /// The extension fields, in order.
    pub fields: Vec<Field<'a>>,
    /// Key id and digest; 4 octets are a crypto-NAK.
    pub mac: Option<&'a [u8]>,
}

impl<'a> Trailer<'a> {
    /// Splits a whole packet.
    ///
    /// # Errors
    /// [`Refused::TooShort`] without a header, [`Refused::Extension`] if the rest follows no rule.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Refused> {
        let mut fields = Vec::new();
        let mut at = PACKET_LEN;
        loop {
            let rest = packet.get(at..).ok_or(Refused::TooShort)?;
            if rest.is_empty() {
                return Ok(Self { fields, mac: None });
            }
            if MAC_LENGTHS.contains(&rest.len()) {
                return Ok(Self { fields, mac: Some(rest) });
            }
            let (kind, body) = split(rest).ok_or(Refused::Extension)?;
            if body.len() + HEADER < MIN_FIELD {
                return Err(Refused::Extension);
            }
            fields.push(Field { kind, body, at });
            at += HEADER + body.len();
        }
    }
}

/// Reads octets that hold extension fields and nothing else, as those that were sealed.
///
/// # Errors
/// [`Refused::Extension`].
pub fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, Refused> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, body) = split(&bytes[at..]).ok_or(Refused::Extension)?;
        fields.push(Field { kind, body, at });
        at += HEADER + body.len();
    }
    Ok(fields)
}

/// Type and body of the field at the beginning.
fn split(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let [k0, k1, l0, l1] = *bytes.first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let whole = length >= HEADER && length.is_multiple_of(4);
    Some((u16::from_be_bytes([k0, k1]), bytes.get(HEADER..length).filter(|_| whole)?))
}

/// Appends a field; its body is padded with zeros to whole words and to the shortest field.
pub(crate) fn push_field(packet: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let length = (HEADER + body.len().next_multiple_of(4)).max(MIN_FIELD);
    let short = u16::try_from(length).expect("invariant: our fields are short");
    let end = packet.len() + length;
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&short.to_be_bytes());
    packet.extend_from_slice(body);
    packet.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn packet(fields: &[(u16, &[u8])], rest: usize) -> Vec<u8> {
        let mut packet = vec![0; PACKET_LEN];
        for (kind, body) in fields {
            push_field(&mut packet, *kind, body);
        }
        packet.resize(packet.len() + rest, 9);
        packet
    }

    /// Proves that fields and MAC are told apart by length, as RFC 7822 section 7.5 has it.
    #[test]
    fn fields_and_macs_are_told_apart() {
        let long = [1; 40];
        for rest in [0, 4, 20, 24] {
            let bytes = packet(&[(0x104, &[7; 32]), (0x204, &long)], rest);
            let trailer = Trailer::parse(&bytes).unwrap();
            let kinds: Vec<_> = trailer.fields.iter().map(|field| (field.kind, field.at)).collect();
            assert_eq!(kinds, [(0x104, 48), (0x204, 84)]);
            assert_eq!(trailer.fields[1].body, long);
            assert_eq!(trailer.mac.map_or(0, <[u8]>::len), rest);
        }
        assert_eq!(Trailer::parse(&[0; 47]), Err(Refused::TooShort));
    }

    /// Proves that lengths which fit no rule are refused.
    #[test]
    fn odd_lengths_are_refused() {
        for rest in [1, 2, 3, 5, 8, 12, 16, 19, 21] {
            assert_eq!(Trailer::parse(&packet(&[], rest)), Err(Refused::Extension), "{rest}");
        }
        let mut bytes = packet(&[(1, &[0; 40])], 0);
        for length in [0, 3, 4, 12, 42, 48] {
            bytes[51] = length;
            assert_eq!(Trailer::parse(&bytes), Err(Refused::Extension), "{length}");
        }
    }

    /// Proves that short bodies are padded to the shortest field, and sealed fields may be shorter.
    #[test]
    fn fields_are_padded() {
        let mut bytes = Vec::new();
        push_field(&mut bytes, 5, &[1]);
        assert_eq!(bytes.len(), MIN_FIELD);
        assert_eq!(fields(&bytes).unwrap()[0].body.len(), 12);
        assert_eq!(fields(&[0, 1, 0, 4]).unwrap().len(), 1);
        assert_eq!(fields(&[0, 1, 0, 8]), Err(Refused::Extension));
    }
}
