//! The interleaved mode (RFC 9769), and its fallback.

use std::collections::BTreeSet;

use agent_core::{Refused, SourceConfig};
use timebase::Span;

use crate::peer::{FLIGHT, HASTE, Peer, Rig};

fn rig(peer: Peer) -> Rig {
    Rig::new(peer, SourceConfig::default())
}

/// The true delay, to the rounding of stamps.
fn is_exact(delay: Option<Span>) -> bool {
    delay.is_some_and(|delay| (delay - FLIGHT - FLIGHT).abs() < Span::from_ns(5))
}

/// Proves that it is used without being asked for, and that its exchanges are exact where those of the
/// basic mode are wider by what the server's stamp is early.
#[test]
fn it_is_used_by_default_and_is_exact() {
    let mut interleaved = rig(Peer::interleaving());
    let mut basic = rig(Peer::default());
    for poll in 0..20 {
        assert_eq!((interleaved.exchange(), basic.exchange()), (Ok(()), Ok(())));
        assert_eq!(interleaved.source().interleaved, poll > 0);
        assert!(!basic.source().interleaved);
    }
    assert!(is_exact(interleaved.source().least_delay), "{:?}", interleaved.source());
    let wider = basic.source().least_delay.unwrap() - FLIGHT - FLIGHT - HASTE;
    assert!(wider.abs() < Span::from_ns(5), "{wider}");
    assert_eq!(interleaved.source().accepted, 20);
    // The newest exchange is not exact yet, and is estimated as if it were.
    let offset = interleaved.source().offset.expect("an estimate");
    assert!(offset.abs() < Span::MICROSECOND, "{offset}");
}

/// Proves that it can be turned off.
#[test]
fn it_is_not_used_against_the_configuration() {
    let config = SourceConfig { interleaved: false, ..SourceConfig::default() };
    let mut rig = Rig::new(Peer::interleaving(), config);
    for _ in 0..5 {
        assert_eq!(rig.exchange(), Ok(()));
        assert!(!rig.source().interleaved);
    }
}

/// Proves that requests tell nothing of this host: they hold random numbers and the server's own T2.
#[test]
fn requests_tell_nothing_and_never_repeat() {
    let mut rig = rig(Peer::interleaving());
    let (mut seen, mut asked) = (BTreeSet::new(), 0);
    for _ in 0..40 {
        let request = rig.request();
        let header = request.header();
        assert!(request.packet[1..24].iter().all(|octet| *octet == 0));
        assert_eq!(header.origin != 0, header.receive != 0);
        assert!(header.origin == 0 || rig.peer.memory.contains_key(&header.origin));
        asked += if header.receive == 0 { 1 } else { 2 };
        seen.extend([header.receive, header.transmit].into_iter().filter(|field| *field != 0));
        rig.sent(request.token);
        let answer = rig.peer.answer(&request.packet, rig.now + FLIGHT);
        rig.now = rig.now + FLIGHT + FLIGHT + FLIGHT;
        assert_eq!(rig.deliver(&answer), Ok(()));
    }
    assert_eq!(seen.len(), asked);
}

/// Proves that an answer after a lost one is paired with the last that was taken, that two losses bring
/// the basic mode back, and that the window stays true (asserted after every packet).
#[test]
fn lost_answers_are_never_paired_wrongly() {
    let mut rig = rig(Peer::interleaving());
    (0..3).for_each(|_| assert_eq!(rig.exchange(), Ok(())));
    let named = rig.lose().origin;
    assert_ne!(named, 0);
    let request = rig.request();
    assert_eq!(request.header().origin, named, "the last that was taken");
    rig.engine.handle_send_failed(timebase::Timestamp::from_ns(rig.now.as_ns()), request.token);
    assert_eq!(rig.lose().origin, 0, "two in a row were lost");
    assert_eq!(rig.exchange(), Ok(()));
    assert!(!rig.source().interleaved);
    assert_eq!(rig.exchange(), Ok(()));
    assert!(rig.source().interleaved);
    for loss in 0..60 {
        if loss % 3 == 0 {
            rig.lose();
        } else {
            assert_eq!(rig.exchange(), Ok(()));
        }
    }
    assert!(is_exact(rig.source().least_delay));
}

/// Proves that copies and latecomers are refused.
#[test]
fn copies_and_latecomers_are_refused() {
    let mut rig = rig(Peer::interleaving());
    let (mut late, mut copies) = (rig.ask(), 0);
    for _ in 0..20 {
        rig.now = rig.now + Span::SECOND;
        let answer = rig.ask();
        assert_eq!(rig.deliver(&late), Err(Refused::Origin), "it is of the request before");
        assert_eq!(rig.deliver(&answer), Ok(()));
        assert_eq!(rig.deliver(&answer), Err(Refused::Unexpected));
        copies += 1;
        late = answer;
        let lost = rig.lose();
        assert_ne!(lost.transmit, 0);
    }
    assert_eq!(rig.source().accepted, copies);
    assert!(is_exact(rig.source().least_delay));
}

/// Proves that a server which has forgotten everything is asked on, in basic mode first.
#[test]
fn a_restarted_server_is_asked_on() {
    let mut rig = rig(Peer::interleaving());
    (0..5).for_each(|_| assert_eq!(rig.exchange(), Ok(())));
    rig.peer.memory.clear();
    assert_eq!(rig.exchange(), Ok(()));
    assert!(!rig.source().interleaved);
    assert_eq!(rig.exchange(), Ok(()));
    assert!(rig.source().interleaved);
}

/// Proves that a server which does not answer such requests is soon asked without them.
#[test]
fn a_server_that_drops_interleaved_requests_is_asked_without() {
    let mut rig = rig(Peer::default());
    let mut last_lost = 0;
    for poll in 0..40 {
        let request = rig.request();
        let interleaved = request.header().origin != 0;
        rig.sent(request.token);
        if interleaved {
            last_lost = poll;
        } else {
            let answer = rig.peer.answer(&request.packet, rig.now + FLIGHT);
            rig.now = rig.now + FLIGHT + FLIGHT + FLIGHT;
            assert_eq!(rig.deliver(&answer), Ok(()));
        }
    }
    assert!(last_lost < 14, "{last_lost}");
}

/// Proves that an exact stamp which cannot be true is refused, and the rest of its answer is not.
#[test]
fn an_impossible_exact_stamp_costs_nothing_else() {
    let mut rig = rig(Peer::interleaving());
    (0..3).for_each(|_| assert_eq!(rig.exchange(), Ok(())));
    for (by, why) in [(-1 << 32, Refused::Backwards), (1 << 32, Refused::Causality)] {
        let mut answer = rig.ask();
        let transmit = u64::from_be_bytes(answer[40..48].try_into().unwrap());
        answer[40..48].copy_from_slice(&transmit.wrapping_add_signed(by).to_be_bytes());
        let reach = rig.source().reach;
        assert_eq!(rig.deliver(&answer), Err(why));
        assert_eq!(rig.source().reach, reach << 1 | 1);
        assert_eq!(rig.exchange(), Ok(()));
    }
}

/// Proves that nothing from before a suspend is paired with what comes after.
#[test]
fn a_suspend_ends_the_pairing() {
    let mut rig = rig(Peer::interleaving());
    (0..3).for_each(|_| assert_eq!(rig.exchange(), Ok(())));
    let clock = agent_core::ClockReading {
        raw: timebase::Timestamp::from_ns(rig.now.as_ns()),
        realtime: timebase::Timestamp::from_ns(rig.now.as_ns()),
        uncertainty: Span::ZERO,
    };
    rig.engine.handle_suspend(clock, Span::from_secs(9));
    assert_eq!(rig.request().header().origin, 0);
}
