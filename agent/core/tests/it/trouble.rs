//! Servers and people that make trouble: the engine goes on, and its window stays true.

use agent_core::{Refused, SourceConfig, SourceId};
use timebase::{Ppb, Span, Timestamp, Unusable, Verdict};

use crate::bench::{Bench, Server};
use crate::peer::{Peer, Rig};

/// Proves that one server which jumps 2000 s is a falseticker at once and the window does not move.
#[test]
fn a_server_that_jumps_2000_s_is_outvoted() {
    let mut bench = Bench::polling(vec![Server::default(); 3], 2, Ppb::from_ppm(9));
    bench.run(Span::from_secs(60));
    bench.servers[1].error = Span::from_secs(2000);
    for _ in 0..60 {
        bench.run(Span::from_secs(10));
        let report = bench.report();
        assert!(report.bounds.unwrap().contains(Span::ZERO));
    }
    assert!(!bench.verdicts()[1].takes_part());
    bench.servers[1].error = Span::ZERO;
    bench.run(Span::from_secs(7200));
    assert!(bench.verdicts().iter().all(|verdict| verdict.takes_part()), "{:?}", bench.verdicts());
}

/// Proves that all servers jumping 2000 s together, there and back, stop nothing: afterwards the window
/// is true again.
#[test]
fn all_servers_jumping_2000_s_stop_nothing() {
    for jump in [2000, -2000] {
        let mut bench = Bench::polling(vec![Server::default(); 3], 2, Ppb::from_ppm(9));
        bench.run(Span::from_secs(60));
        bench.servers.iter_mut().for_each(|server| server.error = Span::from_secs(jump));
        bench.run(Span::from_secs(600));
        bench.report();
        bench.servers.iter_mut().for_each(|server| server.error = Span::ZERO);
        bench.run(Span::from_secs(7200));
        assert!(bench.report().bounds.unwrap().contains(Span::ZERO));
    }
}

/// Proves that a server which claims to have kept requests longer than they took is refused, and costs
/// its own vote only.
#[test]
fn a_negative_delay_is_refused() {
    let mut rig = Rig::new(Peer::default(), SourceConfig::default());
    assert_eq!(rig.exchange(), Ok(()));
    for _ in 0..20 {
        let mut answer = rig.ask();
        let transmit = u64::from_be_bytes(answer[40..48].try_into().unwrap());
        answer[40..48].copy_from_slice(&(transmit + (5 << 32)).to_be_bytes());
        assert_eq!(rig.deliver(&answer), Err(Refused::Causality));
    }
    assert_eq!(rig.source().refused, 20);
    assert_eq!(rig.exchange(), Ok(()));
}

/// Proves that a source which is moved to another address forgets the one before, and is asked there.
#[test]
fn a_server_that_moves_is_asked_at_its_new_place() {
    let mut rig = Rig::new(Peer::interleaving(), SourceConfig::default());
    (0..4).for_each(|_| assert_eq!(rig.exchange(), Ok(())));
    let late = rig.ask();
    let now = Timestamp::from_ns(rig.now.as_ns());
    rig.engine.handle_resolved(now, rig.source, "192.0.2.77:123".into());
    assert_eq!(rig.deliver(&late), Err(Refused::Unexpected));
    rig.peer.memory.clear();
    let request = rig.request();
    assert_eq!(request.header().origin, 0, "nothing of the old server is told the new one");
    let source = rig.source();
    assert_eq!((source.address.as_str(), source.accepted), ("192.0.2.77:123", 4));
}

/// Proves that an offline source is not asked and has no vote, and comes back at once.
#[test]
fn an_offline_source_is_left_alone() {
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.run(Span::from_secs(60));
    let (asked, raw) = (bench.requests[&2], bench.raw());
    bench.engine.set_online(raw, SourceId(2), false);
    bench.run(Span::from_secs(7200));
    assert_eq!(bench.requests[&2], asked);
    assert_eq!(bench.verdicts()[2], Verdict::Unusable(Unusable::Offline));
    assert!(bench.verdicts()[0].takes_part());
    bench.engine.set_online(bench.raw(), SourceId(2), true);
    bench.run(Span::from_secs(5));
    assert!(bench.verdicts()[2].takes_part(), "{:?}", bench.verdicts());
    bench.engine.set_online(bench.raw(), SourceId(99), false);
}
