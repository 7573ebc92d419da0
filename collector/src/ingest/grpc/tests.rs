use super::*;

use fleet_proto::pb;
use proptest::prelude::*;

fn pieces() -> Pieces {
    Pieces { most: 1_000, ..Pieces::default() }
}

fn framed(refusal: &pb::Refusal) -> Vec<u8> {
    let message = refusal.encode_to_vec();
    let mut octets = vec![0];
    octets.extend((message.len() as u32).to_be_bytes());
    octets.extend(message);
    octets
}

fn all(pieces: &mut Pieces) -> Result<Vec<pb::Refusal>, Broken> {
    let mut found = Vec::new();
    while let Some(received) = pieces.next::<pb::Refusal>()? {
        assert_eq!(received.octets, received.message.encoded_len());
        found.push(received.message);
    }
    Ok(found)
}

proptest! {
    /// Proves that messages come out as they went in however they are cut, and that nothing is held after the
    /// last.
    #[test]
    fn any_cut_gives_the_messages(
        details in prop::collection::vec("[a-z]{0,40}", 0..8),
        cuts in prop::collection::vec(1_usize..60, 1..40),
    ) {
        let message = |detail: &String| pb::Refusal { detail: detail.clone(), ..Default::default() };
        let messages: Vec<_> = details.iter().map(message).collect();
        let octets: Vec<u8> = messages.iter().flat_map(framed).collect();
        let (mut pieces, mut found) = (pieces(), Vec::new());
        let (mut rest, mut cuts) = (&octets[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.add(Bytes::copy_from_slice(piece));
            found.extend(all(&mut pieces).unwrap());
            rest = more;
        }
        prop_assert_eq!(found, messages);
        prop_assert!(!pieces.begun());
        prop_assert_eq!((pieces.part.capacity(), pieces.rest.len()), (0, 0));
    }

    /// Proves that noise is refused, at the latest when it is as long as a message may be.
    #[test]
    fn noise_is_bounded(noise in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let mut pieces = pieces();
        pieces.add(noise.into());
        let _ = all(&mut pieces);
        prop_assert!(pieces.part.len() <= PREFIX + 1_000);
    }
}

/// Proves that a message too long is refused by its prefix, in one piece or in several, before it is held.
#[test]
fn too_long_is_refused_unread() {
    let prefix = [0, 0, 0, 3, 233];
    for cut in 1..=PREFIX {
        let mut pieces = pieces();
        pieces.add(Bytes::copy_from_slice(&prefix[..cut]));
        let first = all(&mut pieces);
        let refused = first.and_then(|_| {
            pieces.add(Bytes::copy_from_slice(&prefix[cut..]));
            all(&mut pieces)
        });
        assert!(matches!(refused, Err(Broken::TooLarge(_))), "cut after {cut}: {refused:?}");
    }
}

/// Proves that compressed messages and such as cannot be decoded are refused.
#[test]
fn what_is_no_message_is_refused() {
    for octets in [&[1, 0, 0, 0, 0][..], &[0, 0, 0, 0, 1, 0xff]] {
        let mut pieces = pieces();
        pieces.add(Bytes::copy_from_slice(octets));
        assert!(matches!(all(&mut pieces), Err(Broken::Malformed(_))), "{octets:?}");
    }
}
