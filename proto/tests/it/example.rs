//! One report in which every field holds a value of its own, so that a swapped pair shows.

use timebase::{
    Authentication, Bounds, Discipliner, Event, EventKind, KernelClock, Leap, Ppb, RateBounds,
    Report, Seq, SmearState, SourceKind, SourceReport, Span, StampKind, Statistical, SyncState,
    Timestamp, Unusable, Verdict,
};

fn bounds(lo: i64, hi: i64) -> Bounds {
    Bounds::between(Span::from_ns(lo), Span::from_ns(hi))
}

pub(crate) fn report() -> Report {
    let event = |n: i64, kind| Event {
        raw: Timestamp::from_ns(7_000 + n),
        realtime: Timestamp::from_ns(1_700_000_000_000_000_100 + n),
        kind,
    };
    Report {
        seq: Seq(41),
        steps: 3,
        stray: Some(Span::from_ns(4_321)),
        raw: Timestamp::from_ns(1_234_567_890),
        realtime: Timestamp::from_ns(1_700_000_000_000_000_001),
        bounds: Some(bounds(-1_001, 2_002)),
        statistical: Some(Statistical {
            offset: Span::from_ns(55),
            sigma: Span::from_ns(66),
            k: 3.0,
            samples: 8,
        }),
        frequency: Some(Ppb::new(-12_345)),
        frequency_sigma: Some(Ppb::new(77)),
        drift_limit: Ppb::new(50_000),
        rate: RateBounds::new(Ppb::new(-50_000), Ppb::new(-1_234)).expect("not empty"),
        drift_ceiling: Ppb::new(60_000),
        state: SyncState::Holdover,
        leap: Leap::Insert,
        smear: SmearState::Linear24h,
        tai_offset_s: Some(37),
        discipliner: Discipliner::Chronyd,
        kernel: KernelClock {
            synchronised: true,
            max_error: Span::from_ns(16_000),
            estimated_error: Span::from_ns(900),
            frequency: Ppb::new(-8_001),
            status: 0x2001,
            tai_offset_s: 37,
        },
        sources: vec![SourceReport {
            kind: SourceKind::Phc,
            name: "ntp.example:123".into(),
            address: "192.0.2.1:123".into(),
            verdict: Verdict::Unusable(Unusable::RootDistance),
            reach: 0b1011_0111,
            poll_log2: -2,
            bounds: Some(bounds(-3_003, -1)),
            offset: Some(Span::from_ns(-1_500)),
            delay: Some(Span::from_ns(3_000)),
            least_delay: Some(Span::from_ns(2_900)),
            asymmetry: Some(bounds(-2_001, 1_001)),
            jitter: Some(Span::from_ns(12)),
            stratum: 2,
            reference_id: 0xc000_0201,
            root_delay: Span::from_ns(444),
            root_dispersion: Span::from_ns(555),
            leap: Leap::None,
            authentication: Authentication::Nts,
            interleaved: true,
            smear: SmearState::Quadratic,
            stamps: StampKind::Kernel,
            accepted: 100,
            refused: 2,
            frequency: Some(Ppb::new(5)),
        }],
        events: vec![
            event(1, EventKind::Started { reboot: true }),
            event(2, EventKind::Step { by: Span::from_ns(-700_000_000) }),
            event(3, EventKind::Suspended { lasted: Span::from_secs(60) }),
            event(
                4,
                EventKind::SourceChanged {
                    source: "ntp.example:123".into(),
                    from: Verdict::Selected,
                    to: Verdict::Falseticker,
                },
            ),
            event(5, EventKind::LeapChanged { to: Leap::Delete }),
            event(6, EventKind::ReportsDropped { count: 9 }),
        ],
    }
}

/// What release 0.2 knew of it.
#[allow(dead_code, reason = "the recorder of fixtures has no use for it")]
pub(crate) fn report_of_0_2() -> Report {
    Report { stray: None, ..report() }
}

/// What release 0.1 knew of it.
#[allow(dead_code, reason = "the recorder of fixtures has no use for it")]
pub(crate) fn report_of_0_1() -> Report {
    let mut report = report_of_0_2();
    report.rate = RateBounds::within(report.drift_limit);
    report.drift_ceiling = report.drift_limit;
    (report.smear, report.tai_offset_s) = (SmearState::None, None);
    for source in &mut report.sources {
        (source.kind, source.authentication) = (SourceKind::Ntp, Authentication::None);
        (source.interleaved, source.smear) = (false, SmearState::None);
        (source.least_delay, source.asymmetry) = (None, None);
    }
    report
}
