use super::*;
use agent_core::{ClockReading, EngineConfig, RefclockConfig, SourceOptions};
use timebase::{Discipliner, KernelClock, SourceKind};

fn engine() -> Engine {
    let now = ClockReading {
        raw: Timestamp::from_ns(0),
        realtime: Timestamp::from_ns(0),
        uncertainty: Span::ZERO,
    };
    Engine::new(EngineConfig::default(), [0; 32], now)
}

fn slots() -> Slots {
    Slots::new(Asking { min_poll: 6, max_poll: 8, ..Asking::default() })
}

fn server(name: &str, pool: bool, addresses: usize) -> Server {
    Server { pool, addresses, ..Server::one(name.parse().unwrap()) }
}

fn addresses(last: impl IntoIterator<Item = u8>) -> Vec<SocketAddr> {
    last.into_iter().map(|n| SocketAddr::from(([192, 0, 2, n], 123))).collect()
}

fn asked(slots: &Slots) -> Vec<SocketAddr> {
    slots.slots.values().filter_map(|slot| slot.address).collect()
}

/// Proves that a pool becomes as many sources as it has addresses, up to its limit, that an
/// address which does not answer is left for the next one, and that no address is asked twice.
#[test]
fn addresses_are_shared_out() {
    let now = Timestamp::from_ns(0);
    let (mut engine, mut slots) = (engine(), slots());
    let pool = server("pool.example", true, 3);
    let source = slots.add_server(&mut engine, now, pool).unwrap();
    slots.assign(&mut engine, now, Resolved { source, addresses: addresses(1..=5) });
    assert_eq!(asked(&slots), addresses(1..=3));
    slots.assign(&mut engine, now, Resolved { source, addresses: addresses(1..=5) });
    assert_eq!(asked(&slots), addresses([4, 2, 3]));

    let alias = server("alias.example", false, 1);
    let alias = slots.add_server(&mut engine, now, alias).unwrap();
    slots.assign(&mut engine, now, Resolved { source: alias, addresses: addresses([2]) });
    assert_eq!(slots.address(alias), None);
}

/// Proves that an address without a server is left at once for the name's next one, but not once
/// something was heard from it.
#[test]
fn a_silent_address_is_left_at_once() {
    let now = Timestamp::from_ns(0);
    let (mut engine, mut slots) = (engine(), slots());
    let dual = server("dual.example", false, 1);
    let source = slots.add_server(&mut engine, now, dual).unwrap();
    slots.assign(&mut engine, now, Resolved { source, addresses: addresses(1..=3) });
    slots.try_another(&mut engine, now, source);
    assert_eq!(asked(&slots), addresses([2]));
    slots.heard_of(source);
    slots.try_another(&mut engine, now, source);
    assert_eq!(asked(&slots), addresses([2]));
}

/// Proves that a lone address is kept however often it is looked up.
#[test]
fn a_lone_address_is_kept() {
    let now = Timestamp::from_ns(0);
    let (mut engine, mut slots) = (engine(), slots());
    let one = server("one.example", false, 1);
    let source = slots.add_server(&mut engine, now, one).unwrap();
    for _ in 0..3 {
        slots.assign(&mut engine, now, Resolved { source, addresses: addresses([9]) });
        assert_eq!(asked(&slots), addresses([9]));
    }
}

/// Proves that a pool's member that is a falseticker for long is replaced by another address, that a
/// short doubt changes nothing, that the address given up is chosen last, and that a server that is
/// no pool is kept.
#[tokio::test]
async fn a_bad_member_of_a_pool_is_replaced() {
    let now = Timestamp::from_ns(0);
    let (mut engine, mut slots) = (engine(), slots());
    let pool = slots.add_server(&mut engine, now, server("pool.example", true, 2)).unwrap();
    let one = slots.add_server(&mut engine, now, server("one.example", false, 4)).unwrap();
    slots.assign(&mut engine, now, Resolved { source: pool, addresses: addresses(1..=2) });
    slots.assign(&mut engine, now, Resolved { source: one, addresses: addresses([9]) });
    assert_eq!(asked(&slots), addresses([1, 9, 2]));
    let review = |slots: &mut Slots, at: i64, verdict: Verdict| {
        let reading = ClockReading {
            raw: Timestamp::from_ns(at * 1_000_000_000),
            realtime: Timestamp::from_ns(0),
            uncertainty: Span::ZERO,
        };
        let mut report = engine.status(reading, KernelClock::default(), Discipliner::None);
        report.sources.iter_mut().take(2).for_each(|source| source.verdict = verdict);
        slots.review(&report);
    };
    review(&mut slots, 1, Verdict::Falseticker);
    review(&mut slots, 500, Verdict::Selected);
    review(&mut slots, 501, Verdict::Falseticker);
    review(&mut slots, 1000, Verdict::Falseticker);
    assert!(!slots.slots[&pool].looking);
    review(&mut slots, 1100, Verdict::Falseticker);
    assert!(slots.slots[&pool].looking && !slots.slots[&one].looking);
    slots.assign(&mut engine, now, Resolved { source: pool, addresses: addresses([2, 1, 3]) });
    assert_eq!(asked(&slots), addresses([3, 9, 2]));
    slots.assign(&mut engine, now, Resolved { source: pool, addresses: addresses([3, 1, 4]) });
    assert_eq!(asked(&slots), addresses([4, 9, 2]));
}

/// Proves that what is said of a reference clock is not taken for a pool's member, and that the
/// members behind it are still judged by what is said of them.
#[tokio::test]
async fn a_reference_clock_among_the_sources_is_passed_over() {
    let now = Timestamp::from_ns(0);
    let (mut engine, mut slots) = (engine(), slots());
    let pool = slots.add_server(&mut engine, now, server("pool.example", true, 2)).unwrap();
    let clock = RefclockConfig {
        name: "GPS".to_owned(),
        address: "/run/gps.sock".to_owned(),
        kind: SourceKind::Sock,
        reference_id: *b"GPS\0",
        poll_log2: 4,
        precision: Span::MICROSECOND,
        delay: Span::MILLISECOND,
        offset: Span::ZERO,
        lock: None,
        options: SourceOptions::default(),
    };
    let clock = engine.add_refclock(now, clock);
    // The pool's second member comes behind the clock.
    slots.assign(&mut engine, now, Resolved { source: pool, addresses: addresses(1..=3) });
    let member = *slots.slots.keys().last().unwrap();
    assert!(pool < clock && clock < member);
    let mut looked_up_when_bad = |bad: SourceId| {
        for at in [1, 1_000, 2_000] {
            let reading = ClockReading {
                raw: Timestamp::from_ns(at * 1_000_000_000),
                realtime: Timestamp::from_ns(0),
                uncertainty: Span::ZERO,
            };
            let (kernel, nobody) = (KernelClock::default(), Discipliner::None);
            let mut report = engine.status(reading, kernel, nobody);
            for (source, number) in report.sources.iter_mut().zip(0..) {
                let is_bad = SourceId(number) == bad;
                source.verdict = if is_bad { Verdict::Falseticker } else { Verdict::Selected };
            }
            slots.review(&report);
        }
        let looking = slots.slots.iter().filter(|(_, slot)| slot.looking);
        let ids: Vec<_> = looking.map(|(id, _)| *id).collect();
        slots.slots.values_mut().for_each(|slot| slot.looking = false);
        ids
    };
    assert_eq!(looked_up_when_bad(clock), []);
    assert_eq!(looked_up_when_bad(member), [member]);
}

/// Proves that a pool's member is replaced for what is wrong with it, and not for what is not its
/// fault.
#[test]
fn a_member_is_of_no_use_by_its_own_fault() {
    for (why, useless) in [
        (Unusable::BadStamps, true),
        (Unusable::Unsynchronised, true),
        (Unusable::Contradictory, true),
        (Unusable::NoAnswerYet, false),
        (Unusable::Oscillator, false),
    ] {
        assert_eq!(is_useless(Verdict::Unusable(why)), useless, "{why:?}");
    }
}
