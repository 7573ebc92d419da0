use fleet_proto::pb;
use prost::Message;

use super::*;

const BOOT: [u8; 16] = [7; 16];
const RECEIVED: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
const SENT_RAW: i64 = 50_000_000_000;

fn context() -> Context {
    Context { host: 1, boot: BootId::from_bytes(BOOT), max_batch: 3 }
}

fn report(seq: u64, raw_ns: i64) -> pb::Report {
    pb::Report {
        seq,
        raw_ns,
        realtime_ns: 1_900_000_000_000_000_000,
        state: pb::SyncState::Synchronised.into(),
        leap: pb::Leap::None.into(),
        discipliner: pb::Discipliner::None.into(),
        ..pb::Report::default()
    }
}

fn batch(reports: Vec<pb::Report>) -> pb::Batch {
    let boot_id = BOOT.to_vec();
    pb::Batch { boot_id, reports, sent_raw_ns: Some(SENT_RAW), ..pb::Batch::default() }
}

/// As it comes in.
fn check(
    wire: pb::Batch,
    context: Context,
    received_at: Timestamp<Utc>,
) -> Result<Checked, Refused> {
    super::check(lazy::Batch::decode(&wire.encode_to_vec()[..]).unwrap(), context, received_at)
}

fn refusals(wire: pb::Batch) -> Vec<(u64, Reason)> {
    let checked = check(wire, context(), RECEIVED).unwrap();
    checked.refused.iter().map(|r| (r.seq, r.reason)).collect()
}

/// Proves that a report is dated by its age on the raw clock, whatever its own clock shows.
#[test]
fn dated_by_age() {
    let checked =
        check(batch(vec![report(5, SENT_RAW - 2_000_000_000)]), context(), RECEIVED).unwrap();
    assert_eq!(checked.batch.reports[0].ref_time, RECEIVED - Span::from_secs(2));
    assert!(checked.batch.reports[0].by_age);
    assert!(checked.batch.current);
}

/// Proves that an absurd age is cut to what the partitions hold, not refused and not believed.
#[test]
fn absurd_age_is_clamped() {
    let checked = check(batch(vec![report(5, i64::MIN)]), context(), RECEIVED).unwrap();
    assert_eq!(checked.batch.reports[0].ref_time, RECEIVED - OLDEST_SAMPLE);
    assert!(!checked.batch.reports[0].by_age);
}

/// Proves that a report made after its batch was sent is refused alone.
#[test]
fn future_is_refused_alone() {
    let wire = batch(vec![report(5, SENT_RAW), report(6, SENT_RAW + 1), report(7, SENT_RAW)]);
    assert_eq!(refusals(wire), [(6, Reason::FromTheFuture)]);
}

/// Proves that seq must rise within a batch, and that zero is no seq.
#[test]
fn seq_must_rise() {
    let wire = batch(vec![report(0, 1), report(6, 1), report(6, 2)]);
    assert_eq!(refusals(wire), [(0, Reason::OutOfOrder), (6, Reason::OutOfOrder)]);
}

/// Proves that a report which the vocabulary cannot hold is refused alone, with the field's name.
#[test]
fn malformed_is_refused_alone() {
    let mut bad = report(5, 1);
    bad.bounds = Some(pb::Bounds { lo_ns: 2, hi_ns: 1 });
    let checked = check(batch(vec![bad, report(6, 1)]), context(), RECEIVED).unwrap();
    assert_eq!(checked.batch.reports.len(), 1);
    assert!(checked.refused[0].detail.contains("bounds"), "{:?}", checked.refused);
}

/// Proves that the sources of a batch's newest report are known, of the others how many take part; and that a newest
/// one whose sources nobody can read leaves its place to the one before it.
#[test]
fn sources_of_the_newest() {
    let source = |verdict: &str, detail: bool| pb::Source {
        name: "ntp1".into(),
        verdict: verdict.into(),
        authentication: pb::Authentication::None.into(),
        stamps: pb::StampKind::Kernel.into(),
        detail: detail.then(|| {
            let leap = pb::Leap::None.into();
            pb::source::Detail::Ntp(pb::NtpDetail { leap, ..pb::NtpDetail::default() })
        }),
        ..pb::Source::default()
    };
    let with = |seq, sources| pb::Report { sources, ..report(seq, 1) };
    let used = timebase::Verdict::Selected.word();
    let older = with(5, vec![source(used, true), source("falseticker", true)]);
    let newest = with(6, vec![source(used, true), source(used, true)]);
    let unreadable = with(7, vec![source(used, false)]);
    let unknown = with(8, vec![source("no verdict", true)]);

    let checked = check(batch(vec![older, newest, unreadable]), context(), RECEIVED).unwrap();
    let known: Vec<_> = checked.batch.reports.iter().map(|d| d.report.sources.len()).collect();
    let counted: Vec<_> = checked.batch.reports.iter().map(|d| d.sources_used).collect();
    assert_eq!((known, counted), (vec![0, 2], vec![1, 2]));
    assert_eq!(checked.refused[0].seq, 7);
    assert!(checked.refused[0].detail.contains("source detail"), "{:?}", checked.refused);
    assert_eq!(refusals(batch(vec![unknown, report(9, 1)])), [(8, Reason::Malformed)]);
}

/// Proves that batches which can never be stored are refused as a whole, each with its reason.
#[test]
fn whole_batches_are_refused() {
    let reason = |wire| check(wire, context(), RECEIVED).unwrap_err().reason;
    let four = (1..5).map(|seq| report(seq, 1)).collect();
    assert_eq!(reason(batch(four)), Reason::BatchTooLarge);
    let bad_id = pb::Batch { boot_id: vec![1, 2, 3], ..batch(vec![]) };
    assert_eq!(reason(bad_id), Reason::Malformed);
    assert_eq!(reason(pb::Batch { sent_raw_ns: None, ..batch(vec![]) }), Reason::BadStamps);
    let other_boot = pb::Batch { boot_id: vec![8; 16], ..batch(vec![]) };
    assert_eq!(reason(other_boot), Reason::BadStamps);
}

/// Proves that a batch which waited for days is dated into the partitions of the day it is stored.
#[test]
fn long_waiting_batch_is_dated_anew() {
    let old = report(5, SENT_RAW - OLDEST_SAMPLE.as_ns());
    let mut batch =
        check(batch(vec![old, report(6, SENT_RAW)]), context(), RECEIVED).unwrap().batch;
    let now = RECEIVED + Span::from_secs(3 * 86_400);
    clamp_to(&mut batch, now);
    let times: Vec<_> = batch.reports.iter().map(|r| r.ref_time).collect();
    assert_eq!(times, [now - OLDEST_SAMPLE, RECEIVED]);
    assert_eq!(batch.reports.iter().map(|r| r.by_age).collect::<Vec<_>>(), [false, true]);
}

/// Proves that reports of an older boot are dated by their own window, and never into the future.
#[test]
fn older_boot_is_dated_by_its_window() {
    let mut old = report(5, 1);
    old.realtime_ns = RECEIVED.as_ns() - 60_000_000_000;
    old.bounds = Some(pb::Bounds { lo_ns: 1_000_000_000, hi_ns: 3_000_000_000 });
    let ahead = report(6, 1);
    let wire = pb::Batch { boot_id: vec![8; 16], sent_raw_ns: None, ..batch(vec![old, ahead]) };
    let checked = check(wire, context(), RECEIVED).unwrap();
    let times: Vec<_> = checked.batch.reports.iter().map(|r| r.ref_time).collect();
    assert_eq!(times, [RECEIVED - Span::from_secs(62), RECEIVED]);
    assert!(checked.batch.reports.iter().all(|r| !r.by_age));
    assert!(!checked.batch.current);
}

/// Proves that no report of an earlier boot is dated into the boot that runs, however far ahead its clock was; and that
/// an agent that does not tell, or tells nonsense, changes nothing else.
#[test]
fn older_boot_ends_where_the_next_begins() {
    let day = 86_400_000_000_000;
    for (running, youngest) in [
        (Some(600_000_000_000), RECEIVED - Span::from_secs(600)),
        (None, RECEIVED),
        (Some(-day), RECEIVED),
        (Some(i64::MIN), RECEIVED),
        (Some(30 * day), RECEIVED - OLDEST_SAMPLE),
    ] {
        let old = pb::Report { realtime_ns: RECEIVED.as_ns() + day / 3, ..report(5, 1) };
        let wire = pb::Batch {
            boot_id: vec![8; 16],
            sent_raw_ns: None,
            running_raw_ns: running,
            ..batch(vec![old])
        };
        let checked = check(wire, context(), RECEIVED).unwrap();
        assert_eq!(checked.batch.reports[0].ref_time, youngest, "{running:?}");
    }
}

/// Proves that the numbers in the database are the numbers on the wire.
#[test]
fn enumerations_agree_with_the_store() {
    use store::ingest as db;
    use timebase::{Authentication, Discipliner, Leap, StampKind, SyncState};
    for state in SyncState::ALL {
        assert_eq!(i32::from(db::state_number(state)), pb::SyncState::from(state) as i32);
    }
    for who in Discipliner::ALL {
        assert_eq!(i32::from(db::discipliner_number(who)), pb::Discipliner::from(who) as i32);
    }
    for leap in [Leap::None, Leap::Insert, Leap::Delete, Leap::Unsynchronised] {
        assert_eq!(i32::from(db::leap_number(leap)), pb::Leap::from(leap) as i32);
    }
    for how in [Authentication::None, Authentication::Mac, Authentication::Nts] {
        let number = i32::from(db::authentication_number(how));
        assert_eq!(number, pb::Authentication::from(how) as i32);
    }
    for stamp in [StampKind::User, StampKind::Kernel, StampKind::Hardware] {
        assert_eq!(i32::from(db::stamps_number(stamp)), pb::StampKind::from(stamp) as i32);
    }
}
