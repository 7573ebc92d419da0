//! What is taken off the wire and what is refused.

use agent_core::ntp::{Kiss, Mode, Packet};
use agent_core::{Refused, SourceId, Stamp};
use timebase::{Span, StampKind};

use crate::bench::{Bench, Server};

fn sent(bench: &Bench) -> Stamp {
    Stamp::exact(bench.raw(), StampKind::Kernel)
}

#[test]
fn exactly_one_answer_to_each_request_is_taken() {
    // Proves that a copy of a good answer is refused, and counted.
    let mut bench = Bench::new(vec![Server::default()]);
    bench.run(Span::from_secs(30));
    let (source, token, request) = bench.intercept();
    bench.engine.handle_sent(token, sent(&bench));
    let answer = bench.answer(source, &request).encode();
    bench.now = bench.now + Span::MILLISECOND;
    let before = bench.report().sources[0].clone();
    assert_eq!(bench.deliver(source, &answer), Ok(()));
    assert_eq!(bench.deliver(source, &answer), Err(Refused::Unexpected));
    let after = bench.report().sources[0].clone();
    assert_eq!((after.accepted, after.refused), (before.accepted + 1, before.refused + 1));
}

#[test]
fn an_answer_may_overtake_the_word_that_its_request_was_sent() {
    // Proves that a late transmit stamp costs nothing.
    let mut bench = Bench::new(vec![Server::default()]);
    bench.run(Span::from_secs(30));
    let accepted = bench.report().sources[0].accepted;
    let (source, token, request) = bench.intercept();
    let stamp = sent(&bench);
    let answer = bench.answer(source, &request).encode();
    bench.now = bench.now + Span::MILLISECOND;
    assert_eq!(bench.deliver(source, &answer), Ok(()));
    assert_eq!(bench.report().sources[0].accepted, accepted);
    bench.engine.handle_sent(token, stamp);
    assert_eq!(bench.report().sources[0].accepted, accepted + 1);
}

#[test]
fn forged_and_impossible_answers_are_refused_with_the_reason() {
    // Proves each refusal of the client, on an otherwise perfect answer.
    type Spoil = fn(&mut Packet);
    let cases: [(Spoil, Refused); 9] = [
        (|p| p.origin ^= 1, Refused::Origin),
        (|p| p.mode = Mode::Client, Refused::Mode),
        (|p| p.mode = Mode::Other(5), Refused::Mode),
        (|p| p.stratum = 16, Refused::Stratum),
        (|p| p.receive = 0, Refused::ZeroStamp),
        (|p| p.transmit = 0, Refused::ZeroStamp),
        (|p| p.transmit = p.receive - 1, Refused::Backwards),
        (|p| p.transmit += 1 << 32, Refused::Causality),
        (|p| p.root_delay = 7 << 16, Refused::RootDistance),
    ];
    for (spoil, reason) in cases {
        let mut bench = Bench::new(vec![Server::default()]);
        bench.run(Span::from_secs(30));
        let (source, token, request) = bench.intercept();
        bench.engine.handle_sent(token, sent(&bench));
        let mut answer = bench.answer(source, &request);
        spoil(&mut answer);
        bench.now = bench.now + Span::MILLISECOND;
        assert_eq!(bench.deliver(source, &answer.encode()), Err(reason));
        assert!(bench.report().bounds.unwrap().contains(Span::ZERO), "{reason}");
    }
}

#[test]
fn a_kiss_that_nobody_asked_for_is_not_obeyed() {
    // Proves that an outsider cannot silence a server by forging DENY.
    let mut bench = Bench::new(vec![Server::default()]);
    bench.run(Span::from_secs(30));
    let (source, token, request) = bench.intercept();
    bench.engine.handle_sent(token, sent(&bench));
    let mut kiss = bench.answer(source, &request);
    (kiss.stratum, kiss.reference_id) = (0, u32::from_be_bytes(*b"DENY"));
    kiss.origin ^= 1;
    assert_eq!(bench.deliver(source, &kiss.encode()), Err(Refused::Origin));
    kiss.origin ^= 1;
    assert_eq!(bench.deliver(source, &kiss.encode()), Err(Refused::Kiss(Kiss::Deny)));
}

#[test]
fn requests_carry_no_clock_and_never_repeat() {
    // Proves that the transmit field is a fresh nonce each time.
    let mut bench = Bench::new(vec![Server::default()]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let (_, token, request) = bench.intercept();
        assert!(request[1..40].iter().all(|byte| *byte == 0));
        assert!(seen.insert(request[40..].to_vec()));
        bench.engine.handle_send_failed(bench.raw(), token);
    }
}

#[test]
fn a_source_that_does_not_exist_is_an_answer_too() {
    // Proves that a stray source id is refused, not a crash.
    let mut bench = Bench::new(vec![Server::default()]);
    assert_eq!(bench.deliver(SourceId(9), &[0; 48]), Err(Refused::UnknownSource));
}
