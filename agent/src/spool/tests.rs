use super::*;

const BOOT: BootId = BootId::from_bytes([7; 16]);
const NEXT_BOOT: BootId = BootId::from_bytes([8; 16]);
const LIMIT: u64 = 1 << 20;

/// A directory of its own, removed when the test ends well.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("truechimer-spool-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self, boot: BootId) -> Spool {
        self.open_with(boot, LIMIT, &sequence(1))
    }

    fn open_with(&self, boot: BootId, limit: u64, sequence: &Sequence) -> Spool {
        Spool::open(&self.0, limit, boot, sequence.clone()).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        segment::list(&self.0).unwrap().into_iter().map(|(_, path)| path).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn sequence(from_ms: i64) -> Sequence {
    Sequence::starting_at(Span::from_millis(from_ms))
}

fn report(seq: u64) -> pb::Report {
    pb::Report { seq, raw_ns: seq as i64 * 1_000, ..pb::Report::default() }
}

fn pending(spool: &mut Spool) -> Vec<u64> {
    let batch = spool.next_batch(usize::MAX);
    batch.map_or(Vec::new(), |batch| batch.reports.iter().map(|report| report.seq).collect())
}

/// Proves that reports whose file cannot be read for a while are sent later and not given up, nor passed by newer ones;
/// and that they are in the end, where nothing ever comes back.
#[test]
fn a_passing_read_error_loses_nothing() {
    let scratch = Scratch::new("read-error");
    let mut spool = scratch.open(BOOT);
    spool.append((1..=3).map(report));
    let (file, aside) = (scratch.segments().remove(0), scratch.0.join("aside"));
    let hide = || {
        fs::rename(&file, &aside).unwrap();
        // Opening a folder succeeds, reading it does not: EISDIR, as root, too.
        fs::create_dir(&file).unwrap();
    };
    let show = || {
        fs::remove_dir(&file).unwrap();
        fs::rename(&aside, &file).unwrap();
    };
    hide();
    for _ in 1..READ_TRIES {
        assert!(spool.next_batch(usize::MAX).is_none());
    }
    show();
    assert_eq!(pending(&mut spool), [1, 2, 3]);
    hide();
    for _ in 1..READ_TRIES {
        assert!(spool.next_batch(usize::MAX).is_none());
    }
    assert_eq!(spool.metrics().dropped.get(), 0);
    assert!(spool.next_batch(usize::MAX).is_none());
    assert_eq!((spool.pending(), spool.metrics().dropped.get()), (0, 3));
    show();
}

/// Proves that reports come back in order, stay until acknowledged, and are gone then, across
/// restarts without a goodbye.
#[test]
fn reports_survive_until_acknowledged() {
    let scratch = Scratch::new("survive");
    let mut spool = scratch.open(BOOT);
    spool.append((1..=5).map(report));
    assert_eq!(spool.next_batch(2).unwrap().reports, [report(1), report(2)]);
    spool.acknowledge(BOOT, Seq(2));
    assert_eq!(pending(&mut spool), [3, 4, 5]);
    drop(spool);

    let mut spool = scratch.open(BOOT);
    assert_eq!(pending(&mut spool), [3, 4, 5]);
    spool.append([report(6)]);
    spool.acknowledge(BOOT, Seq(6));
    assert!(pending(&mut spool).is_empty());
    drop(spool);
    assert!(pending(&mut scratch.open(BOOT)).is_empty());
}

/// Proves that whatever byte a crash stopped the writing at, every report before it is kept, none is
/// invented, and the spool goes on working.
#[test]
fn a_torn_tail_costs_only_what_was_not_written() {
    let scratch = Scratch::new("torn");
    scratch.open(BOOT).append((1..=3).map(report));
    let path = scratch.segments().remove(0);
    let whole = fs::read(&path).unwrap();
    let mut before = 0;
    for length in 0..=whole.len() {
        for leftover in scratch.segments() {
            fs::remove_file(leftover).unwrap();
        }
        fs::write(&path, &whole[..length]).unwrap();
        let mut spool = scratch.open(BOOT);
        let kept = pending(&mut spool);
        let expected: Vec<u64> = (1..=kept.len() as u64).collect();
        assert_eq!(kept, expected, "cut at {length}");
        assert!(kept.len() >= before, "cut at {length}: a longer file keeps at least as much");
        before = kept.len();
        spool.append([report(9)]);
        drop(spool);
        let mut spool = scratch.open(BOOT);
        let after: Vec<u64> = std::iter::from_fn(|| {
            let batch = spool.next_batch(usize::MAX)?;
            spool.acknowledge(batch.boot, batch.last_seq());
            Some(batch.reports)
        })
        .flatten()
        .map(|report| report.seq)
        .collect();
        assert_eq!(after, [expected, vec![9]].concat(), "cut at {length}");
        let _ = fs::remove_file(scratch.0.join("cursor"));
    }
    assert_eq!(before, 3);
}

/// Proves that a damaged byte anywhere loses reports but never gives a wrong one, and never a crash.
#[test]
fn damage_is_never_read_as_a_report() {
    let scratch = Scratch::new("damage");
    scratch.open(BOOT).append((1..=3).map(report));
    let path = scratch.segments().remove(0);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, &damaged).unwrap();
        let kept = pending(&mut scratch.open(BOOT));
        assert_eq!(kept, (1..=kept.len() as u64).collect::<Vec<_>>(), "damaged at {at}");
        assert!(kept.len() < 3, "damaged at {at}");
    }
}

/// Proves that numbers begin at the boot-time clock, above whatever was used in this boot, and higher
/// still if the disk or the collector knows of higher ones.
#[test]
fn numbers_are_never_used_again() {
    let scratch = Scratch::new("numbers");
    let first = sequence(60_000);
    let mut spool = scratch.open_with(BOOT, LIMIT, &first);
    assert_eq!(first.take(), Seq(60_000));
    spool.append([report(60_000)]);
    spool.acknowledge(BOOT, Seq(60_000));
    drop(spool);

    let again = sequence(90_000);
    drop(scratch.open_with(BOOT, LIMIT, &again));
    assert_eq!(again.take(), Seq(90_000));
    let slow_clock = sequence(50_000);
    drop(scratch.open_with(BOOT, LIMIT, &slow_clock));
    assert_eq!(slow_clock.take(), Seq(60_001));

    // The collector knows more than we do: the spool was on a full disk.
    let mut spool = scratch.open_with(BOOT, LIMIT, &again);
    spool.acknowledge(BOOT, Seq(95_000));
    assert_eq!(again.take(), Seq(95_001));
    drop(spool);

    let other_boot = sequence(90_000);
    drop(scratch.open_with(NEXT_BOOT, LIMIT, &other_boot));
    assert_eq!(other_boot.take(), Seq(90_000));
}

/// Proves that batches never mix boots, and that an acknowledgement of this boot does not forget the
/// reports of the one before.
#[test]
fn boots_are_kept_apart() {
    let scratch = Scratch::new("boots");
    scratch.open(BOOT).append([report(500)]);
    let mut spool = scratch.open(NEXT_BOOT);
    spool.append([report(10)]);
    spool.acknowledge(NEXT_BOOT, Seq(10));
    let batch = spool.next_batch(10).unwrap();
    assert_eq!((batch.boot, batch.last_seq()), (BOOT, Seq(500)));
    spool.acknowledge(BOOT, Seq(500));
    assert_eq!(spool.next_batch(10), None);
}

/// Proves that a full spool drops its oldest reports, counts every one of them, and stays within its
/// limit.
#[test]
fn a_full_spool_drops_the_oldest_and_counts() {
    let scratch = Scratch::new("full");
    let limit = 4_000;
    let mut spool = scratch.open_with(BOOT, limit, &sequence(1));
    for seq in 1..=1_000 {
        spool.append([report(seq)]);
    }
    assert!(spool.bytes() <= limit, "{} bytes", spool.bytes());
    let kept = spool.pending() as u64;
    assert!(kept > 0);
    assert_eq!(spool.dropped.load(Ordering::Relaxed), 1_000 - kept);
    assert_eq!(spool.metrics.dropped.get(), 1_000 - kept);
    assert_eq!(spool.next_batch(1).unwrap().reports[0].seq, 1_000 - kept + 1);
    let on_disk: u64 =
        scratch.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(on_disk, spool.bytes());
}

/// Proves that while the disk refuses to write, the last reports wait in memory, the lost ones are
/// counted, and all are on disk as soon as it works again.
#[test]
fn a_disk_that_refuses_is_survived() {
    let scratch = Scratch::new("refuses");
    let mut spool = scratch.open(BOOT);
    // A directory that is gone refuses every new segment, for root too.
    fs::remove_dir_all(&scratch.0).unwrap();
    spool.append((1..=MEMORY_REPORTS as u64).map(report));
    spool.append([report(1_000)]);
    assert_eq!(spool.pending(), MEMORY_REPORTS);
    assert_eq!(spool.dropped.load(Ordering::Relaxed), 1);
    assert_eq!(spool.metrics.failures.get(), 2);
    assert_eq!(spool.next_batch(1).unwrap().reports, [report(2)]);
    spool.acknowledge(BOOT, Seq(10));

    fs::create_dir_all(&scratch.0).unwrap();
    spool.append([report(1_001)]);
    assert!(spool.memory.is_empty());
    drop(spool);
    let kept = pending(&mut scratch.open(BOOT));
    assert_eq!(kept, (11..=MEMORY_REPORTS as u64).chain([1_000, 1_001]).collect::<Vec<_>>());
}

/// Proves that numbers sent from memory, of which a disk that refuses keeps no trace, are not used again
/// by the agent's next run.
#[test]
fn numbers_sent_from_memory_are_not_used_again() {
    let scratch = Scratch::new("memory-numbers");
    let first = sequence(60_000);
    let mut spool = scratch.open_with(BOOT, LIMIT, &first);
    spool.append([report(first.take().0)]);
    fs::rename(&scratch.0, scratch.0.with_extension("away")).unwrap();
    spool.writer = None;
    spool.append([report(first.take().0), report(first.take().0)]);
    spool.acknowledge(BOOT, Seq(60_002));
    drop(spool);
    fs::rename(scratch.0.with_extension("away"), &scratch.0).unwrap();

    let again = sequence(61_000);
    drop(scratch.open_with(BOOT, LIMIT, &again));
    assert!(again.take() > Seq(60_002));
}

/// Proves that two agents cannot share a spool.
#[test]
fn a_spool_has_one_owner() {
    let scratch = Scratch::new("owner");
    let _first = scratch.open(BOOT);
    let second = Spool::open(&scratch.0, LIMIT, BOOT, sequence(1));
    assert!(matches!(second, Err(OpenError::InUse(_))));
}
