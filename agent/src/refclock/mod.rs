//! Reference clocks: devices and programs on this host that give samples of time.
//!
//! Each clock has a task of its own on the time path. It reads what the device has to say, puts the
//! moment of it onto the raw clock, and hands it to the engine, which judges it like any other source.
//! A device that is not there (yet) is tried again; whatever makes no sense is counted and left.
//!
//! The tests write to real sockets and real memory segments. Pulses and hardware clocks are tested from
//! what the kernel would say upwards, because no build machine has them: structures and requests are held
//! against the kernel's headers, the rest is arithmetic.

mod phc;
mod pps;
mod shm;
mod sock;
mod stamps;

use std::fs::File;
use std::io;
use std::time::Duration;

use agent_core::{
    Engine, RefclockConfig, RefclockSample, RefclockTime, SourceId, SourceOptions, Stamp,
};
use fleet_proto::convert::MAX_SOURCES;
use prometheus_client::metrics::counter::Counter;
use timebase::{Host, Leap, LeapTable, Raw, Span, StampKind, Timestamp};
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use crate::config::{Edge, Refclock, RefclockKind};
use crate::sys::shm::{SEGMENT_BYTES, Segment};
use stamps::Stamps;

/// How often devices are looked at, and clocks read.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long until a device that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(16);

/// What a device said, as it said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    at: When,
    time: RefclockTime,
    leap: Leap,
}

impl Reading {
    fn by_program(self) -> Option<(Timestamp<Host>, RefclockTime)> {
        if let When::Host(at) = self.at { Some((at, self.time)) } else { None }
    }
}

/// When that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The system clock then, as a program read it.
    Host(Timestamp<Host>),
    /// The system clock then, as the kernel read it.
    Kernel(Timestamp<Host>),
    /// Between these two readings of the system clock.
    Between(Timestamp<Host>, Timestamp<Host>),
    /// On the raw clock.
    Raw(Stamp),
}

/// Why a sample is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Garbage {
    /// Not as long as a sample.
    #[error("it has another size than a sample")]
    Size,
    /// The number that marks samples is missing.
    #[error("it is not marked as a sample")]
    Magic,
    /// A way of writing that does not exist.
    #[error("its mode is unknown")]
    Mode,
    /// A time out of range.
    #[error("its time is out of range")]
    Time,
    /// The clock is not synchronised, or no leap indicator has this value.
    #[error("its leap indicator says that it is not synchronised")]
    Leap,
    /// A clock that shows TAI, and nothing that says how far that is from UTC.
    #[error("what TAI is less UTC is not known: set tai-offset or update the leap table")]
    TaiOffset,
    /// The system clock was set around then, or it is too long ago.
    #[error("its moment cannot be found on the raw clock")]
    Moment,
}

enum Device {
    Sock(UnixDatagram),
    Shm(Segment),
    Pps(File, pps::Counter),
    Phc(File),
}

/// Adds the clocks to the engine and starts their tasks, which end when `samples` is dropped.
pub(crate) fn start(
    clocks: Vec<Refclock>,
    engine: &mut Engine,
    now: Timestamp<Raw>,
    table: &watch::Receiver<Option<LeapTable>>,
    refused: &Counter,
) -> mpsc::Receiver<(SourceId, RefclockSample)> {
    let (samples, taken) = mpsc::channel(clocks.len().max(1) * 4);
    for clock in clocks {
        if engine.source_count() >= MAX_SOURCES {
            warn!("{} is not read: {MAX_SOURCES} sources are the limit", clock.name());
            continue;
        }
        let source = engine.add_refclock(now, engine_config(&clock));
        engine.set_smear(source, clock.smear.fixed());
        let task = Task {
            source,
            clock,
            samples: samples.clone(),
            table: table.clone(),
            refused: refused.clone(),
            stamps: Stamps::default(),
            needs_tai_offset: Once::default(),
        };
        tokio::spawn(task.run());
    }
    taken
}

fn engine_config(clock: &Refclock) -> RefclockConfig {
    RefclockConfig {
        name: clock.name(),
        address: clock.address(),
        kind: clock.kind.source_kind(),
        reference_id: clock.reference_id(),
        poll_log2: clock.poll,
        precision: clock.precision(),
        delay: clock.delay(),
        offset: clock.offset,
        lock: clock.lock.clone(),
        options: SourceOptions {
            noselect: clock.noselect,
            prefer: clock.prefer,
            trust: clock.trust,
            require: clock.require,
        },
    }
}

struct Task {
    source: SourceId,
    clock: Refclock,
    samples: mpsc::Sender<(SourceId, RefclockSample)>,
    table: watch::Receiver<Option<LeapTable>>,
    refused: Counter,
    stamps: Stamps,
    needs_tai_offset: Once,
}

/// Something that lasts, to be said when it begins.
#[derive(Debug, Default)]
struct Once {
    lasts: bool,
}

impl Once {
    /// Whether it begins now.
    fn begins(&mut self, lasts: bool) -> bool {
        !std::mem::replace(&mut self.lasts, lasts) && lasts
    }
}

impl Task {
    async fn run(mut self) {
        let mut told = false;
        while !self.samples.is_closed() {
            let problem = match self.open() {
                Ok(device) => {
                    info!(source.name = self.clock.name(), "{} is read", self.clock.address());
                    told = false;
                    self.read(device).await
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut told, true) {
                let address = self.clock.address();
                warn!(
                    source.name = self.clock.name(),
                    "cannot read {address} ({problem}); trying again"
                );
            }
            sleep(TRY_AGAIN).await;
        }
    }

    fn open(&self) -> io::Result<Device> {
        let path = self.clock.path.as_deref().unwrap_or_else(|| "".as_ref());
        let permissions = self.clock.permissions.bits();
        Ok(match self.clock.kind {
            RefclockKind::Sock => Device::Sock(sock::bind(path, permissions)?),
            RefclockKind::Shm => {
                Device::Shm(Segment::attach(self.clock.unit.unwrap_or(0), permissions)?)
            }
            RefclockKind::Pps => {
                Device::Pps(crate::sys::pps::open(path)?, pps::Counter::new(self.clock.edge))
            }
            RefclockKind::Phc => Device::Phc(crate::sys::phc::open(path)?),
        })
    }

    /// Until the device fails, or nobody wants samples any more.
    async fn read(&mut self, mut device: Device) -> io::Error {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One byte more than a sample, so that a longer datagram is seen to be one.
        let mut buffer = [0; sock::SAMPLE_BYTES + 1];
        loop {
            let socket = if let Device::Sock(socket) = &device { Some(socket) } else { None };
            let datagram = async {
                match socket {
                    Some(socket) => socket.recv(&mut buffer).await,
                    None => std::future::pending().await,
                }
            };
            let received = tokio::select! {
                received = datagram => Some(received),
                _ = tick.tick() => None,
            };
            // A reading after the sample as well as before it.
            self.stamps.read();
            let given = match received {
                Some(Ok(length)) => Some(sock::decode(&buffer[..length])),
                Some(Err(error)) => return error,
                None => match self.look(&mut device) {
                    Ok(given) => given,
                    Err(error) => return error,
                },
            };
            let sample = given.map(|reading| reading.and_then(|reading| self.sample(&reading)));
            if let Some(sample) = &sample {
                self.mind_tai_offset(sample.as_ref().err());
            }
            match sample {
                Some(Ok(sample)) => {
                    let sent = self.samples.send((self.source, sample)).await;
                    if sent.is_err() {
                        return io::ErrorKind::BrokenPipe.into();
                    }
                }
                Some(Err(garbage)) => {
                    self.refused.inc();
                    debug!(source.name = self.clock.name(), "refused a sample: {garbage}");
                }
                None => {}
            }
        }
    }

    /// Nothing else would say why a clock that works gives no sample.
    fn mind_tai_offset(&mut self, garbage: Option<&Garbage>) {
        if self.needs_tai_offset.begins(garbage == Some(&Garbage::TaiOffset)) {
            let (address, why) = (self.clock.address(), Garbage::TaiOffset);
            warn!(source.name = self.clock.name(), "{address} is of no use yet: {why}");
        }
    }

    /// What a device that does not speak by itself has to say.
    fn look(&self, device: &mut Device) -> io::Result<Option<Result<Reading, Garbage>>> {
        Ok(match device {
            Device::Sock(_) => None,
            Device::Shm(segment) => segment.take().map(|bytes| shm::decode(&bytes)),
            Device::Pps(file, counter) => counter.take(&crate::sys::pps::fetch(file)?).map(Ok),
            Device::Phc(file) => {
                let (against, readings) = crate::sys::phc::read(file)?;
                let table = self.table.borrow();
                phc::best(against, &readings, self.clock.tai_offset, table.as_ref())
            }
        })
    }

    fn sample(&self, reading: &Reading) -> Result<RefclockSample, Garbage> {
        let on_raw = |earliest, latest, kind| {
            self.stamps.on_raw(earliest, latest, kind).ok_or(Garbage::Moment)
        };
        let at = match reading.at {
            When::Host(at) => on_raw(at, at, StampKind::User)?,
            When::Kernel(at) => on_raw(at, at, StampKind::Kernel)?,
            When::Between(earliest, latest) => on_raw(earliest, latest, StampKind::Kernel)?,
            When::Raw(stamp) => stamp,
        };
        let Reading { time, leap, .. } = *reading;
        Ok(RefclockSample { at, time, uncertainty: Span::ZERO, leap })
    }
}

/// When a datagram to the socket says that it was taken, and what time that was.
pub(crate) fn sock_sample(bytes: &[u8]) -> Option<(Timestamp<Host>, RefclockTime)> {
    sock::decode(bytes).ok().and_then(Reading::by_program)
}

/// The same of a memory segment.
pub(crate) fn shm_sample(bytes: &[u8; SEGMENT_BYTES]) -> Option<(Timestamp<Host>, RefclockTime)> {
    shm::decode(bytes).ok().and_then(Reading::by_program)
}

/// The leap indicator of a sample; `None` for "not synchronised" and for what does not exist.
fn leap(indicator: i32) -> Option<Leap> {
    match indicator {
        0 => Some(Leap::None),
        1 => Some(Leap::Insert),
        2 => Some(Leap::Delete),
        _ => None,
    }
}

/// Four bytes of a structure.
fn word(bytes: &[u8], at: usize) -> [u8; 4] {
    bytes[at..at + 4].try_into().expect("invariant: four bytes are four bytes")
}

/// Eight bytes of a structure.
fn long(bytes: &[u8], at: usize) -> [u8; 8] {
    bytes[at..at + 8].try_into().expect("invariant: eight bytes are eight bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that what lasts is said once, and again if it comes back.
    #[test]
    fn what_lasts_is_said_when_it_begins() {
        let mut once = Once::default();
        let said = [false, true, true, false, true].map(|lasts| once.begins(lasts));
        assert_eq!(said, [false, true, false, false, true]);
        let why = Garbage::TaiOffset.to_string();
        assert!(why.contains("set tai-offset or update the leap table"), "{why}");
    }
}
