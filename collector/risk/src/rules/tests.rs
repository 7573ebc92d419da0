use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use timebase::{Answer, Bounds, Discipliner, Ppb, Span, SyncState, Timestamp, Utc, Verdict};

use super::*;
use crate::pairs::{Clock, Pairs};
use crate::{HostView, HostWindow, Raise, Selector, SourceFact, Value};

const NOW: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
const MAX_AGE: Span = Span::from_secs(35);

fn ms(value: i64) -> Span {
    Span::from_millis(value)
}

/// A host that reported just now, with its window in ms.
fn host(host_id: i64, name: &str, service: &str, lo: i64, hi: i64) -> HostView {
    HostView {
        host_id,
        name: name.into(),
        service: service.into(),
        simulated: false,
        enrolled_at: NOW - Span::from_secs(3600),
        received_at: Some(NOW),
        state: SyncState::Synchronised,
        discipliner: Discipliner::Chronyd,
        window: Some(HostWindow {
            bounds: Bounds::new(ms(lo), ms(hi)).unwrap(),
            sampled_at: NOW,
            rate_limit: Ppb::from_ppm(50),
            offset: ms((lo + hi) / 2),
        }),
        sources: vec![SourceFact { name: "10.0.0.7".into(), verdict: Verdict::Selected }],
    }
}

fn fleet(hosts: Vec<HostView>) -> FleetView {
    FleetView { reference_time: NOW, watching_since: NOW - Span::from_secs(7200), hosts }
}

fn service(name: &str) -> Selector {
    Selector { services: vec![name.into()], hosts: vec![] }
}

fn drift_policy() -> drift::Policy {
    drift::Policy {
        name: "budget".into(),
        budget: ms(100),
        max_age: MAX_AGE,
        raise: Raise::default(),
    }
}

fn keystone(lifetime: Option<Span>) -> token_skew::Policy {
    let preset = token_skew::Preset::KEYSTONE_JWS;
    token_skew::Policy {
        name: "jws".into(),
        issuers: service("keystone"),
        validators: service("nova"),
        leeway: preset.leeway,
        delay: Span::ZERO,
        rounding: preset.rounding,
        lifetime,
        usable_life: None,
        refusal: preset.refusal.into(),
        basis: preset.basis.into(),
        max_age: MAX_AGE,
        raise: Raise::default(),
    }
}

fn fact<'a>(finding: &'a Finding, name: &str) -> &'a Value {
    &finding.evidence.iter().find(|e| e.name == name).unwrap().value
}

/// Drift gives each of the four answers at exactly its boundary, with the sentence a person reads.
#[test]
fn drift_answers_at_its_boundaries() {
    for (lo, hi, answer, near, summary) in [
        (-80, 80, Answer::Safe, false, "a is between 80.0 ms behind and 80.0 ms ahead."),
        (-81, 0, Answer::Safe, true, "a is 0 ns to 81.0 ms behind."),
        (-100, 100, Answer::Safe, true, "a is between 100 ms behind and 100 ms ahead."),
        (90, 101, Answer::Possible, false, "a is 90.0 to 101 ms ahead."),
        (101, 102, Answer::Certain, false, "a is 101 to 102 ms ahead."),
        (-3002, -2998, Answer::Certain, false, "a is 3.00 s behind."),
    ] {
        let found = &drift::evaluate(&fleet(vec![host(1, "a", "", lo, hi)]), &drift_policy())[0];
        assert_eq!((found.answer, found.near_limit), (answer, near), "{lo} {hi}");
        assert_eq!(found.summary, summary);
        assert_eq!(found.listed, answer != Answer::Safe);
        assert_eq!(found.key(), "drift:budget:host-1");
    }
}

/// A silent host's window grows by its drift limit until it is too old, then it is unknown, never safe.
#[test]
fn windows_age_into_unknown() {
    let mut view = fleet(vec![host(1, "a", "", -99, 99)]);
    view.reference_time = NOW + Span::from_secs(30);
    let aged = &drift::evaluate(&view, &drift_policy())[0];
    // 30 s at 50 ppm is 1.5 ms on each side.
    assert_eq!(aged.interval.unwrap().hi(), Span::from_ns(100_500_000));
    assert_eq!(aged.answer, Answer::Possible);
    view.reference_time = NOW + MAX_AGE + Span::NANOSECOND;
    assert_eq!(drift::evaluate(&view, &drift_policy())[0].answer, Answer::Unknown);
    view.hosts[0].window = None;
    view.reference_time = NOW;
    let blind = &drift::evaluate(&view, &drift_policy())[0];
    assert_eq!((blind.answer, blind.listed), (Answer::Unknown, true));
}

/// Advice names a lone source, falsetickers, and dead sources.
#[test]
fn advice_names_the_source() {
    let mut wrong = host(1, "a", "", 2998, 3002);
    let advice = |host: &HostView| {
        drift::evaluate(&fleet(vec![host.clone()]), &drift_policy())[0].advice.clone()
    };
    assert!(advice(&wrong).starts_with("Its only source, 10.0.0.7, decides this alone"));
    for name in ["s2", "s3"] {
        wrong.sources.push(SourceFact { name: name.into(), verdict: Verdict::Combined });
    }
    wrong.sources.push(SourceFact { name: "bad".into(), verdict: Verdict::Falseticker });
    assert_eq!(
        advice(&wrong),
        "Its 3 sources agree, so the clock itself is wrong: see `chronyc tracking`; `chronyc \
         makestep` corrects it at once. Ignored as wrong: bad."
    );
    wrong.state = SyncState::Holdover;
    wrong.sources.truncate(1);
    wrong.sources[0].verdict = Verdict::Unreachable;
    assert_eq!(
        advice(&wrong),
        "No source is usable: 10.0.0.7 does not answer any more. Restore one of them."
    );
}

/// Silence begins just beyond its limit; a host that never reported counts from its enrolment.
#[test]
fn silence_begins_beyond_its_limit() {
    let policy = silent::Policy { name: "agent".into(), limit: MAX_AGE, raise: Raise::default() };
    let mut view = fleet(vec![host(1, "a", "", 0, 0)]);
    let answer = |view: &FleetView| silent::evaluate(view, &policy)[0].answer;
    view.reference_time = NOW + MAX_AGE;
    assert_eq!(answer(&view), Answer::Safe);
    view.reference_time = NOW + MAX_AGE + Span::NANOSECOND;
    assert_eq!(answer(&view), Answer::Certain);
    view.reference_time = NOW;
    view.hosts[0].received_at = None;
    assert_eq!(answer(&view), Answer::Certain);
    assert!(silent::evaluate(&view, &policy)[0].summary.contains("never reported"));
    view.hosts[0].enrolled_at = NOW;
    assert_eq!(answer(&view), Answer::Safe);
}

/// After an outage of the collector nobody is called silent at once, and nobody's alert ends for it.
#[test]
fn silence_needs_a_listener() {
    let policy = silent::Policy { name: "agent".into(), limit: MAX_AGE, raise: Raise::default() };
    let mut view = fleet(vec![host(1, "a", "", 0, 0)]);
    view.reference_time = NOW + Span::from_secs(3600);
    view.watching_since = view.reference_time - MAX_AGE;
    let found = &silent::evaluate(&view, &policy)[0];
    assert_eq!((found.answer, found.near_limit), (Answer::Safe, true));
    view.watching_since = view.watching_since - Span::NANOSECOND;
    assert_eq!(silent::evaluate(&view, &policy)[0].answer, Answer::Certain);
}

/// Keystone JWS turns from safe to some to all refused between 0 and 1 s of issuer lead, as measured.
#[test]
fn keystone_jws_refuses_from_zero_to_one_second() {
    for (lo, hi, answer, least, most) in [
        (-20, 0, Answer::Safe, 0.0, 0.0),
        (-20, 10, Answer::Possible, 0.0, 0.01),
        (0, 10, Answer::Possible, 0.0, 0.01),
        (700, 720, Answer::Certain, 0.7, 0.72),
        (1000, 1002, Answer::Certain, 1.0, 1.0),
    ] {
        let view = fleet(vec![host(1, "ks", "keystone", lo, hi), host(2, "n1", "nova", 0, 0)]);
        let found = token_skew::evaluate(&view, &keystone(None));
        assert_eq!(found[0].answer, answer, "{lo} {hi}");
        for (name, expected) in [("refused_share_lo", least), ("refused_share_hi", most)] {
            let Value::Share(share) = fact(&found[0], name) else { panic!("a share") };
            assert!((share - expected).abs() < 1e-9, "{name} {share}");
        }
    }
}

/// Leeway and the least delay forgive as much skew as they say, for PyJWT and for Rust's 60 s alike.
#[test]
fn leeway_and_delay_forgive() {
    for (leeway, delay, lead, answer) in [
        (0, 0, 1, Answer::Certain),
        (0, 5, 5, Answer::Safe),
        (0, 5, 6, Answer::Certain),
        (60_000, 0, 60_000, Answer::Safe),
        (60_000, 0, 60_001, Answer::Certain),
    ] {
        let policy = token_skew::Policy { leeway: ms(leeway), delay: ms(delay), ..keystone(None) };
        let view = fleet(vec![host(1, "ks", "keystone", lead, lead), host(2, "n", "nova", 0, 0)]);
        assert_eq!(token_skew::evaluate(&view, &policy)[0].answer, answer, "{leeway} {lead}");
    }
}

/// A validator ahead shortens a token's life; it is flagged once less than half of it is left.
#[test]
fn a_validator_ahead_shortens_life() {
    let policy = keystone(Some(Span::from_secs(3600)));
    for (ahead_s, answer) in [(1800, Answer::Safe), (1801, Answer::Certain)] {
        let at = ahead_s * 1000;
        let view = fleet(vec![host(1, "ks", "keystone", 0, 0), host(2, "n1", "nova", at, at)]);
        let found = token_skew::evaluate(&view, &policy);
        assert_eq!(found[0].answer, answer, "{ahead_s} s");
    }
    let view = fleet(vec![host(1, "ks", "keystone", 0, 0), host(2, "n", "nova", 3000000, 3000000)]);
    let found = token_skew::evaluate(&view, &policy);
    assert_eq!(found[1].key(), "token-skew:jws:expiry-host-2");
    assert_eq!(
        found[1].consequence,
        "Tokens of 1 of 1 issuer are expired early on n: of 3600 s, as little as 600 s is left."
    );
}

/// One issuer 0.7 s ahead gives one culprit with the number of validators, not one finding per pair.
#[test]
fn one_culprit_for_one_cause() {
    let mut hosts = vec![host(1, "ctl-3", "keystone", 700, 720)];
    hosts.push(host(2, "ctl-4", "keystone", -20, -18));
    hosts.extend((0..50).map(|i| host(10 + i, "nova", "nova", -5, 5)));
    let found = token_skew::evaluate(&fleet(hosts), &keystone(None));
    let certain: Vec<&Finding> = found.iter().filter(|f| f.answer == Answer::Certain).collect();
    assert_eq!(certain.len(), 2, "the policy and its culprit");
    assert_eq!(certain[1].subject, "host-1");
    assert_eq!(certain[1].summary, "ctl-3 is 695 to 725 ms ahead of nova.");
    assert!(
        certain[1].consequence.starts_with(
            "69 to 72 % of the fresh tokens of ctl-3 are refused on 50 of 50 validators as not \
             yet valid, for up to 725 ms after issue. Keystone answers HTTP 500"
        ),
        "{}",
        certain[1].consequence
    );
    assert_eq!(*fact(&found[0], "pairs_certain"), Value::Count(50));
}

/// Validators that are behind are blamed, not the only issuer they all fall behind of.
#[test]
fn the_clock_far_from_utc_is_the_culprit() {
    let mut hosts = vec![host(1, "ks", "keystone", -5, 5)];
    hosts.extend((0..5).map(|i| host(10 + i, "good", "nova", -2, 2)));
    hosts.extend((0..3).map(|i| host(20 + i, "late", "nova", -5002, -5000)));
    let found = token_skew::evaluate(&fleet(hosts), &keystone(None));
    let certain: Vec<String> = found[1..]
        .iter()
        .filter(|f| f.answer == Answer::Certain)
        .map(|f| f.subject.clone())
        .collect();
    assert_eq!(certain, ["host-20", "host-21", "host-22"]);
    assert!(found[1].consequence.contains("tokens of 1 of 1 issuer are refused on late"));
}

/// Hosts without a window make the policy unknown, never safe, and keep their alerts from closing.
#[test]
fn a_blind_host_is_not_safe() {
    let mut blind = host(3, "n2", "nova", 0, 0);
    blind.window = None;
    let view = fleet(vec![host(1, "ks", "keystone", -9, -8), host(2, "n1", "nova", 0, 0), blind]);
    let found = token_skew::evaluate(&view, &keystone(None));
    assert_eq!(found[0].answer, Answer::Unknown);
    assert!(found[0].summary.ends_with("1 host cannot be judged."), "{}", found[0].summary);
    assert_eq!((found[1].subject.as_str(), found[1].answer), ("host-3", Answer::Unknown));
    assert!(!found[1].listed);

    let nobody = token_skew::evaluate(&fleet(vec![]), &keystone(None));
    assert_eq!((nobody.len(), nobody[0].answer), (1, Answer::Unknown));
    assert_eq!(nobody[0].summary, "No host matches the issuers of policy jws.");
}

/// Log order compares every ordered pair of the group with the gap; safe needs narrow windows.
#[test]
fn log_order_compares_pairs_with_the_gap() {
    let policy = log_skew::Policy {
        name: "nova".into(),
        hosts: service("nova"),
        gap: ms(10),
        resolution: None,
        max_age: MAX_AGE,
        raise: Raise::default(),
    };
    let judge = |windows: &[(i64, i64)]| {
        let hosts = windows
            .iter()
            .enumerate()
            .map(|(i, (lo, hi))| host(i as i64, &i.to_string(), "nova", *lo, *hi))
            .collect();
        log_skew::evaluate(&fleet(hosts), &policy)
    };
    assert_eq!(judge(&[(-2, 2), (-3, 3)])[0].answer, Answer::Safe);
    assert_eq!(judge(&[(0, 10), (0, 0)])[0].answer, Answer::Safe);
    assert_eq!(judge(&[(-6, 6), (-5, 5)])[0].answer, Answer::Possible);
    assert_eq!(judge(&[(-60, 60)])[0].answer, Answer::Unknown, "a clock has no skew to itself");
    let found = judge(&[(-1, 1), (30, 32), (-1, 1)]);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].answer, Answer::Certain);
    assert_eq!(
        found[0].summary,
        "1 is 29.0 to 33.0 ms ahead of 0; in 2 of 6 directions lines sort wrongly."
    );
    assert_eq!((found[1].subject.as_str(), found[1].host), ("host-1", Some(1)));
}

/// Coarse stamps blur the order: of the lines one gap apart, the measured share is inverted.
#[test]
fn coarse_stamps_invert_a_share() {
    let policy = log_skew::Policy {
        name: "l".into(),
        hosts: service("nova"),
        gap: ms(10),
        resolution: Some(Span::SECOND),
        max_age: MAX_AGE,
        raise: Raise::default(),
    };
    let view = fleet(vec![host(1, "a", "nova", 510, 510), host(2, "b", "nova", 0, 0)]);
    let found = &log_skew::evaluate(&view, &policy)[0];
    assert!(
        found.consequence.ends_with("At 10.0 ms after the cause that is about 50 % of such lines.")
    );
}

/// Every registered rule speaks, and no two findings share a key.
#[test]
fn the_registry_runs_every_rule() {
    let view = fleet(vec![host(1, "ks", "keystone", 5000, 5001), host(2, "n", "nova", 0, 0)]);
    let policies = Policies {
        drift: vec![drift_policy()],
        silent: vec![silent::Policy {
            name: "agent".into(),
            limit: MAX_AGE,
            raise: Raise::default(),
        }],
        token_skew: vec![keystone(Some(Span::from_secs(3600)))],
        log_skew: vec![log_skew::Policy {
            name: "all".into(),
            hosts: service("*"),
            gap: ms(1),
            resolution: None,
            max_age: MAX_AGE,
            raise: Raise::default(),
        }],
    };
    let found = evaluate(&view, &policies);
    let mut keys: Vec<String> = found.iter().map(Finding::key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), found.len());
    for rule in ["drift", "silent", "token-skew", "log-skew"] {
        assert!(found.iter().any(|f| f.rule == rule), "{rule}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20261122), ..ProptestConfig::default() })]

    /// Counting by sorting finds what comparing every pair finds, and the culprits cover every
    /// certain pair.
    #[test]
    fn counting_agrees_with_comparing_every_pair(
        windows in prop::collection::vec((-40i64..40, 0i64..30, any::<bool>(), any::<bool>()), 1..14),
        limit in 0i64..30,
    ) {
        let hosts: Vec<HostView> = windows
            .iter()
            .enumerate()
            .map(|(i, (lo, width, ..))| host(i as i64, "h", "", *lo, lo + width))
            .collect();
        let clocks = |wanted: &dyn Fn(usize) -> bool| -> Vec<Clock<'_>> {
            hosts
                .iter()
                .enumerate()
                .filter(|(i, _)| wanted(*i))
                .map(|(_, host)| Clock { host, bounds: host.window.unwrap().bounds })
                .collect()
        };
        let (leaders, followers) = (clocks(&|i| windows[i].2), clocks(&|i| windows[i].3));
        let pairs = Pairs::new(&leaders, &followers, ms(limit));
        let all: Vec<(i64, i64, Answer)> = leaders
            .iter()
            .flat_map(|l| followers.iter().map(move |f| (l, f)))
            .filter(|(l, f)| l.host.host_id != f.host.host_id)
            .map(|(l, f)| (l.host.host_id, f.host.host_id, (l.bounds - f.bounds).above(ms(limit))))
            .collect();
        let count = |answer| all.iter().filter(|(.., a)| *a >= answer).count();
        prop_assert_eq!(pairs.total(), all.len());
        prop_assert_eq!(pairs.count(Answer::Certain), count(Answer::Certain));
        prop_assert_eq!(pairs.count(Answer::Possible), count(Answer::Possible));
        let worst = all.iter().map(|(.., a)| *a).max().unwrap_or(Answer::Unknown);
        prop_assert_eq!(pairs.answer(), worst);
        let culprits: Vec<(i64, bool)> = pairs
            .culprits(Answer::Certain)
            .iter()
            .map(|c| (c.host().host_id, c.leads))
            .collect();
        for (leader, follower, answer) in &all {
            let explained = culprits.contains(&(*leader, true)) || culprits.contains(&(*follower, false));
            prop_assert!(*answer != Answer::Certain || explained);
        }
    }
}
