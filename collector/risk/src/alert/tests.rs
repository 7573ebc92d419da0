use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use timebase::{Answer, Span, Timestamp};

use super::*;

const TERMS: Raise =
    Raise { possible_after: Some(Span::from_secs(60)), resolve_after: Span::from_secs(5) };

fn finding(subject: &str, answer: Answer, near_limit: bool, raise: Raise) -> Finding {
    Finding {
        rule: "drift",
        policy: "budget".into(),
        subject: subject.into(),
        answer,
        near_limit,
        host: None,
        peer: None,
        interval: None,
        limit: None,
        summary: "s".into(),
        consequence: "c".into(),
        advice: "a".into(),
        evidence: vec![],
        listed: true,
        raise: Some(raise),
    }
}

/// Plays answers at given seconds and lists the transitions with their seconds.
fn play(raise: Raise, script: &[(i64, &str)]) -> Vec<(i64, Reason)> {
    let mut alerts = Alerts::default();
    let mut told = Vec::new();
    for (second, what) in script {
        let found = match *what {
            "gone" => vec![],
            "near" => vec![finding("x", Answer::Safe, true, raise)],
            word => vec![finding("x", Answer::from_word(word).unwrap(), false, raise)],
        };
        let (next, transitions) =
            alerts.step(&found, Timestamp::from_ns(0) + Span::from_secs(*second));
        told.extend(transitions.iter().map(|t| (*second, t.reason)));
        alerts = next;
    }
    told
}

/// Certain opens at once; safe resolves only after it has lasted, and anything else starts that over.
#[test]
fn certain_opens_and_lasting_safety_resolves() {
    use Reason::{Opened, Resolved};
    assert_eq!(
        play(TERMS, &[(0, "certain"), (2, "certain"), (4, "safe"), (8, "safe"), (9, "safe")]),
        [(0, Opened), (9, Resolved)]
    );
    assert_eq!(
        play(
            TERMS,
            &[(0, "certain"), (2, "safe"), (6, "near"), (8, "safe"), (12, "safe"), (13, "safe")]
        ),
        [(0, Opened), (13, Resolved)]
    );
    assert_eq!(
        play(TERMS, &[(0, "certain"), (1, "gone"), (6, "gone"), (7, "gone")]),
        [(0, Opened), (6, Resolved)]
    );
}

/// Unknown never opens and never closes.
#[test]
fn unknown_neither_opens_nor_closes() {
    assert_eq!(play(TERMS, &[(0, "unknown"), (900, "unknown")]), []);
    assert_eq!(
        play(
            TERMS,
            &[(0, "certain"), (2, "safe"), (4, "unknown"), (900, "unknown"), (902, "safe")]
        ),
        [(0, Reason::Opened)]
    );
}

/// Possible opens only if it lasts, worsens at once and eases only if it lasts again.
#[test]
fn possible_must_last() {
    use Reason::{Eased, Opened, Worsened};
    assert_eq!(
        play(TERMS, &[(0, "possible"), (59, "possible"), (60, "safe"), (61, "possible")]),
        []
    );
    assert_eq!(
        play(
            TERMS,
            &[
                (0, "possible"),
                (60, "possible"),
                (62, "certain"),
                (64, "possible"),
                (123, "possible"),
                (124, "possible")
            ]
        ),
        [(60, Opened), (62, Worsened), (124, Eased)]
    );
}

/// Where possible is never worth an alert, it counts as cured.
#[test]
fn possible_counts_as_cured_where_it_never_raises() {
    let raise = Raise { possible_after: None, ..TERMS };
    assert_eq!(
        play(raise, &[(0, "possible"), (90, "certain"), (92, "possible"), (97, "possible")]),
        [(90, Reason::Opened), (97, Reason::Resolved)]
    );
}

/// A finding that is never an alert opens none; one that stops being an alert ends it.
#[test]
fn some_findings_are_never_alerts() {
    let at = |s| Timestamp::from_ns(0) + Span::from_secs(s);
    let silenced = Finding { raise: None, ..finding("x", Answer::Certain, false, TERMS) };
    let (alerts, told) = Alerts::default().step(core::slice::from_ref(&silenced), at(0));
    assert_eq!((alerts.open(), told), (0, vec![]));
    let (alerts, _) = alerts.step(&[finding("x", Answer::Certain, false, TERMS)], at(1));
    assert_eq!(alerts.open(), 1);
    let (alerts, _) = alerts.step(core::slice::from_ref(&silenced), at(2));
    let (alerts, told) = alerts.step(core::slice::from_ref(&silenced), at(7));
    assert_eq!((alerts.open(), told[0].reason), (0, Reason::Resolved));
}

/// A pair's alert is not over because the host that showed it went blind; when that host is seen again
/// and nothing is wrong, it is.
#[test]
fn a_peer_that_goes_blind_is_no_cure() {
    let at = |s| Timestamp::from_ns(0) + Span::from_secs(s);
    let wrong = Finding {
        host: Some(1),
        peer: Some(2),
        ..finding("host-1", Answer::Certain, false, TERMS)
    };
    let blind = Finding { host: Some(2), ..finding("host-2", Answer::Unknown, false, TERMS) };
    let (alerts, _) = Alerts::default().step(&[wrong], at(0));
    let (alerts, told) = alerts.step(core::slice::from_ref(&blind), at(10));
    assert_eq!((alerts.open(), told), (1, vec![]));
    let (alerts, told) = alerts.step(&[blind], at(1000));
    assert_eq!((alerts.open(), told), (1, vec![]));
    let (alerts, _) = alerts.step(&[], at(1001));
    let (alerts, told) = alerts.step(&[], at(1010));
    assert_eq!((alerts.open(), told[0].reason), (0, Reason::Resolved));
}

/// A restart neither repeats an opening nor forgets how long an answer has lasted.
#[test]
fn a_restart_is_not_news() {
    let at = |s| Timestamp::from_ns(0) + Span::from_secs(s);
    let track = |answer, open| Track {
        answer,
        since: at(0),
        open,
        calm_since: None,
        raise: Some(TERMS),
        peer: None,
    };
    let alerts = Alerts::restore([
        ("drift:budget:x".to_string(), track(Answer::Certain, Some(Answer::Certain))),
        ("drift:budget:y".to_string(), track(Answer::Possible, None)),
    ]);
    assert_eq!(alerts.open(), 1);
    let found =
        [finding("x", Answer::Certain, false, TERMS), finding("y", Answer::Possible, false, TERMS)];
    let (next, told) = alerts.step(&found, at(59));
    assert_eq!(told, []);
    let (_, told) = next.step(&found, at(60));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].key.as_str(), told[0].reason), ("drift:budget:y", Reason::Opened));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20261122), ..ProptestConfig::default() })]

    /// Whatever is found when: openings and resolutions alternate, every worsening and easing happens
    /// while open and changes the answer, and a step repeated at the same moment says nothing.
    #[test]
    fn the_story_of_an_alert_is_consistent(
        script in prop::collection::vec((0i64..90, 0usize..6, any::<bool>()), 1..60),
    ) {
        let mut alerts = Alerts::default();
        let mut now = Timestamp::from_ns(0);
        let mut open: Option<Answer> = None;
        for (wait, what, raises) in script {
            now = now + Span::from_secs(wait);
            let raise = Raise { possible_after: raises.then_some(Span::from_secs(60)), ..TERMS };
            let found = match what {
                0..4 => vec![finding("x", Answer::ALL[what], false, raise)],
                4 => vec![finding("x", Answer::Safe, true, raise)],
                _ => vec![],
            };
            let (next, told) = alerts.step(&found, now);
            prop_assert!(told.len() <= 1);
            for transition in &told {
                open = match (open, transition.reason) {
                    (None, Reason::Opened) => Some(transition.answer),
                    (Some(Answer::Possible), Reason::Worsened) => Some(Answer::Certain),
                    (Some(Answer::Certain), Reason::Eased) => Some(Answer::Possible),
                    (Some(_), Reason::Resolved) => None,
                    other => return Err(TestCaseError::fail(alloc::format!("{other:?}"))),
                };
                if let Some(level) = open {
                    prop_assert_eq!(level, transition.answer);
                }
            }
            prop_assert_eq!(next.open(), usize::from(open.is_some()));
            let (again, told) = next.step(&found, now);
            prop_assert_eq!(told, vec![]);
            prop_assert_eq!(&again, &next);
            alerts = next;
        }
    }
}
