//! What follows an attempt: delivered, again later, or parked for a person to look at.

use timebase::{Span, Timestamp, Utc};
use uuid::Uuid;

use store::outbox::Outcome;

/// Pauses after the first, second, … attempt: a restart of the receiver costs seconds, an outage of a
/// night still ends in a delivery, and then somebody has to look.
const PAUSES: [Span; 7] = [
    Span::from_secs(5),
    Span::from_secs(30),
    Span::from_secs(2 * 60),
    Span::from_secs(10 * 60),
    Span::from_secs(3600),
    Span::from_secs(3 * 3600),
    Span::from_secs(8 * 3600),
];

/// What a receiver's answer means; `None`: there was no answer.
pub(super) fn outcome(
    status: Option<u16>,
    retry_after: Option<Span>,
    id: Uuid,
    attempt: i32,
    now: Timestamp<Utc>,
) -> Outcome {
    match status {
        Some(200..=299) => Outcome::Delivered,
        // The request is at fault, or the receiver wants no more: repeating it changes nothing. 408
        // and 429 ask for a repetition.
        Some(400..=407 | 409..=428 | 430..=499) => Outcome::Parked,
        // A redirect is not followed, for the address guard's sake.
        Some(300..=399) => Outcome::Parked,
        _ => match pause(id, attempt) {
            Some(pause) => {
                let longest = PAUSES[PAUSES.len() - 1];
                Outcome::Retry(now + pause.max(retry_after.unwrap_or_default().min(longest)))
            }
            None => Outcome::Parked,
        },
    }
}

/// The pause after this attempt, spread by ± 20 % so that messages which failed together do not all
/// return together; `None` after the last. The spread comes from the message's id, which is random.
fn pause(id: Uuid, attempt: i32) -> Option<Span> {
    let index = usize::try_from(attempt - 1).ok()?;
    let pause = PAUSES.get(index)?;
    let byte = i64::from(id.as_bytes()[index % 6]);
    let permille = 800 + byte * 400 / 255;
    Some(Span::from_ns(pause.as_ns() / 1000 * permille))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp<Utc> = Timestamp::from_ns(1_000_000_000_000_000_000);

    /// Each kind of answer has the follow-up that helps.
    #[test]
    fn answers_decide() {
        let after = |status| outcome(status, None, Uuid::nil(), 1, NOW);
        for status in [200, 204, 299] {
            assert_eq!(after(Some(status)), Outcome::Delivered);
        }
        for status in [301, 400, 401, 404, 410, 422] {
            assert_eq!(after(Some(status)), Outcome::Parked, "{status}");
        }
        for status in [Some(408), Some(429), Some(500), Some(503), None] {
            assert_eq!(after(status), Outcome::Retry(NOW + Span::from_secs(4)), "{status:?}");
        }
    }

    /// Pauses grow, stay within their spread, and end in parking after the eighth attempt.
    #[test]
    fn pauses_grow_and_end() {
        let spread = Uuid::from_bytes([255; 16]);
        let mut last = Span::ZERO;
        for attempt in 1..=7 {
            let Outcome::Retry(at) = outcome(None, None, spread, attempt, NOW) else {
                panic!("attempt {attempt} is not the last")
            };
            let pause = at - NOW;
            let nominal = PAUSES[attempt as usize - 1];
            assert!(pause > last && pause <= nominal + Span::from_ns(nominal.as_ns() / 5));
            last = pause;
        }
        assert_eq!(outcome(None, None, spread, 8, NOW), Outcome::Parked);
    }

    /// A receiver that asks for a longer pause gets it, but not for ever.
    #[test]
    fn a_receiver_may_ask_for_patience() {
        for (asked, got) in [(1, 4), (60, 60), (864_000, 8 * 3600)] {
            let after = Some(Span::from_secs(asked));
            let outcome = outcome(Some(429), after, Uuid::nil(), 1, NOW);
            assert_eq!(outcome, Outcome::Retry(NOW + Span::from_secs(got)));
        }
    }
}
