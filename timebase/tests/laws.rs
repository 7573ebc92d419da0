//! The algebra of intervals, as laws over random and extreme values.

use proptest::prelude::*;
use timebase::{Answer, Bounds, ClockWindow, Exchange, Host, Order, Ppb, Raw, Span, Timestamp};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5c),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        any::<i64>(),
        -1_000_000_000i64..1_000_000_000,
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0)
    ]
    .prop_map(Span::from_ns)
}

fn small() -> impl Strategy<Value = Span> {
    (-1_000_000_000_000i64..1_000_000_000_000).prop_map(Span::from_ns)
}

fn bounds(of: impl Strategy<Value = Span> + Clone) -> impl Strategy<Value = Bounds> {
    (of.clone(), of).prop_map(|(a, b)| Bounds::between(a, b))
}

proptest! {
    #![proptest_config(config())]

    /// No operation panics or makes an interval empty, whatever the values.
    #[test]
    fn nothing_panics_at_the_extremes(a in bounds(span().boxed()), b in bounds(span().boxed()), x in span(), ppb: i64) {
        for made in [a.hull(b), a + b, a - b, -a, a + x, a - x, a.widen(x), a.aged(x, Ppb::new(ppb))] {
            prop_assert!(made.lo() <= made.hi());
            prop_assert!(made.contains(made.midpoint()));
        }
        let _ = (a.beyond(x), a.above(x), a.magnitude(), a.width(), a.clamp(x), x.half(), x.times(ppb));
        let _ = (a.window_at(Timestamp::<Host>::from_ns(x.as_ns())), format!("{a} {x} {}", Ppb::new(ppb)));
        let e = Exchange::<Raw> {
            t1: Timestamp::from_ns(ppb), t2: Timestamp::from_ns(x.as_ns()),
            t3: Timestamp::from_ns(a.lo().as_ns()), t4: Timestamp::from_ns(b.hi().as_ns()), root_distance: x,
        };
        let _ = (e.bounds(Ppb::new(ppb)), e.delay(), e.offset());
    }

    /// What two intervals both contain, their intersection contains, and nothing else.
    #[test]
    fn intersection_is_both(a in bounds(small().boxed()), b in bounds(small().boxed()), x in small()) {
        let both = a.contains(x) && b.contains(x);
        prop_assert_eq!(a.intersect(b).is_some_and(|i| i.contains(x)), both);
        prop_assert!(!a.contains(x) || a.hull(b).contains(x));
    }

    /// The skew interval contains the true skew whenever both windows contain their host's error.
    #[test]
    fn skew_contains_the_truth(a in bounds(small().boxed()), b in bounds(small().boxed()), f in 0.0..1.0f64, g in 0.0..1.0f64) {
        let inside = |w: Bounds, f: f64| w.clamp(w.lo() + Span::from_secs_f64(w.width().as_secs_f64() * f));
        let (x, y) = (inside(a, f), inside(b, g));
        prop_assert!((a - b).contains(x - y));
        prop_assert!((a + b).contains(x + y));
    }

    /// The three answers with data partition the line, and agree with every error inside the interval.
    #[test]
    fn answers_agree_with_every_error_inside(a in bounds(small().boxed()), limit in 0i64..1_000_000_000_000, f in 0.0..1.0f64) {
        let limit = Span::from_ns(limit);
        let error = a.clamp(a.lo() + Span::from_secs_f64(a.width().as_secs_f64() * f));
        match a.beyond(limit) {
            Answer::Certain => prop_assert!(error.abs() > limit),
            Answer::Safe => prop_assert!(error.abs() <= limit),
            Answer::Possible => {
                prop_assert!(a.magnitude() > limit && a.least_magnitude() <= limit);
            }
            Answer::Unknown => prop_assert!(false, "an interval is data"),
        }
    }

    /// Two windows are ordered only if every pair of moments inside is.
    #[test]
    fn order_never_contradicts_any_pair(a in -1000i64..1000, aw in 0i64..500, b in -1000i64..1000, bw in 0i64..500, f in 0.0..1.0f64, g in 0.0..1.0f64) {
        let w = |at: i64, width: i64| {
            ClockWindow::new(Timestamp::from_ns(at), Timestamp::from_ns(at + width)).unwrap()
        };
        let x = a + (aw as f64 * f) as i64;
        let y = b + (bw as f64 * g) as i64;
        match w(a, aw).order(w(b, bw)) {
            Order::Before => prop_assert!(x < y),
            Order::After => prop_assert!(x > y),
            Order::Undecidable => {}
        }
    }

    /// An exchange's bounds contain the clock's error for every split of the delay, every drift within
    /// the limit and every server error within its claim.
    #[test]
    fn exchange_bounds_contain_the_error(
        error in -2_000_000_000i64..2_000_000_000, out in 0i64..100_000_000, held in 0i64..10_000_000,
        back in 0i64..100_000_000, server_error in -1_000i64..=1_000, drift in -50i64..=50,
    ) {
        let utc0 = 1_700_000_000_000_000_000i64;
        let total = out + held + back;
        let gained = i64::try_from(i128::from(total) * i128::from(drift) / 1_000_000).unwrap();
        let e = Exchange::<Host> {
            t1: Timestamp::from_ns(utc0 + error),
            t2: Timestamp::from_ns(utc0 + out + server_error),
            t3: Timestamp::from_ns(utc0 + out + held + server_error),
            t4: Timestamp::from_ns(utc0 + total + error + gained),
            root_distance: Span::from_ns(1_000),
        };
        let bounds = e.bounds(Ppb::from_ppm(51)).unwrap();
        prop_assert!(bounds.contains(Span::from_ns(error + gained)), "{bounds}");
    }

    /// What people write as a span and what is shown of it agree to three digits.
    #[test]
    fn shown_spans_read_back_within_half_a_percent(x in small()) {
        let shown = x.to_string().replace('−', "-");
        let back: Span = shown.parse().unwrap();
        prop_assert!((back - x).abs().as_ns() <= x.abs().as_ns() / 199 + 1, "{x:?} as {shown}");
    }
}
