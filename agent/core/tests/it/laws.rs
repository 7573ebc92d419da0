//! Laws, tried on worlds made by chance. Cases are few and the seed is fixed: a failure repeats.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, RngSeed};
use timebase::{Ppb, Span, SyncState};

use crate::bench::{Bench, Server};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1588),
        rng_algorithm: RngAlgorithm::ChaCha,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Honest: its clock is off by less than it claims.
fn honest() -> impl Strategy<Value = Server> {
    (0..5_000_000_i64, -1000..=1000_i64, 0..40_000_000_i64, 0..40_000_000_i64).prop_map(
        |(dispersion, share, out, back)| Server {
            error: Span::from_ns(dispersion * share / 1000),
            root_dispersion: Span::from_ns(dispersion),
            out: Span::from_ns(out),
            back: Span::from_ns(back),
            ..Server::default()
        },
    )
}

fn false_one() -> impl Strategy<Value = Server> {
    (honest(), -10_000_000_000..10_000_000_000_i64)
        .prop_map(|(server, error)| Server { error: Span::from_ns(error), ..server })
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn the_window_contains_the_truth_while_less_than_half_lie(
        (good, bad) in (1..6usize).prop_flat_map(|good| (
            proptest::collection::vec(honest(), good),
            proptest::collection::vec(false_one(), 0..good),
        )),
        ppb in -50_000..=50_000_i64,
        host_error in -2_000_000_000..2_000_000_000_i64,
    ) {
        // Proves the claim of the product, under its own fault model.
        let mut servers = bad;
        servers.extend(good);
        let mut bench = Bench::polling(servers, 4, Ppb::new(ppb));
        bench.host_error = Span::from_ns(host_error);
        for _ in 0..12 {
            bench.run(Span::from_secs(25));
            let report = bench.report();
            prop_assert!(report.state != SyncState::Starting);
            // With every server answering the majority is never lost.
            let bounds = report.bounds.expect("a window");
            prop_assert!(bounds.contains(bench.host_error), "{bounds} at {:?}", bench.now);
            if let Some(statistical) = report.statistical {
                prop_assert!(bounds.contains(statistical.offset));
            }
        }
    }

    #[test]
    fn no_bytes_stop_the_engine_or_move_the_window(
        datagrams in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..100), any::<bool>(), any::<u16>()), 1..40),
    ) {
        // Proves that garbage, with and without the right nonce, is survived; and that without the
        // nonce it changes nothing at all.
        let mut bench = Bench::new(vec![Server::default(); 3]);
        bench.run(Span::from_secs(20));
        for (mut bytes, knows_nonce, flip) in datagrams {
            let (source, token, request) = bench.intercept();
            let stamp = agent_core::Stamp::exact(bench.raw(), timebase::StampKind::User);
            bench.engine.handle_sent(token, stamp);
            let before = bench.report().bounds;
            prop_assert!(bench.deliver(source, &bytes).is_err());
            prop_assert_eq!(bench.report().bounds, before);
            if knows_nonce {
                bytes = bench.answer(source, &request).encode().to_vec();
                let bit = usize::from(flip) % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let _ = bench.deliver(source, &bytes);
                let _ = bench.report();
            }
        }
    }
}
