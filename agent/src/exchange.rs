//! One request and its answers: the socket, the clock readings around it, and the stamps they give.
//!
//! The kernel stamps packets on CLOCK_REALTIME; the engine thinks on the raw clock. What lies between
//! the two is read before and after, and the stamp becomes the hull of what it may have been on the
//! raw clock. If somebody set the clock in between, the kernel's stamp means nothing, and the wider
//! hull of the raw readings themselves takes its place: nobody can set those.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_core::{ClockReading, SendToken, SourceId, Stamp};
use timebase::{Bounds, Host, Raw, Span, StampKind, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, trace, warn};

use crate::hardware::{self, Hardware};
use crate::sys::clock;
use crate::sys::route::Route;
use crate::sys::udp::{StampedSocket, Stamps};

/// How long an answer is waited for at least; longer than any delay that would make a useful window.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// More than a clock can be slewed during one exchange: beyond this it was set.
const STEP_BETWEEN_READINGS: Span = Span::from_ns(500_000);
/// Datagrams taken from one socket. Only the server asked can send to it, so more than a few means a
/// broken or hostile one.
const MAX_DATAGRAMS: usize = 8;

/// Whether it was said that an IPv6 address is of no use: on a host without IPv6 none is.
static IPV6_TOLD: AtomicBool = AtomicBool::new(false);

/// What an exchange has to tell the engine.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The request left.
    Sent(SendToken, Stamp),
    /// The request did not leave.
    Failed(SendToken),
    /// A datagram arrived on the request's socket.
    Datagram(SourceId, Vec<u8>, Stamp),
    /// Nobody listens at the source's address, or there is no way to it.
    Unreachable(SourceId),
}

/// A request to carry out.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) source: SourceId,
    pub(crate) server: SocketAddr,
    pub(crate) token: SendToken,
    pub(crate) packet: Vec<u8>,
}

/// An exchange under way, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    until: Instant,
    _task: AbortOnDropHandle<()>,
}

impl Exchange {
    /// Needs a tokio runtime.
    pub(crate) fn start(
        request: Request,
        route: Arc<Route>,
        hardware: Arc<Hardware>,
        heard: mpsc::Sender<Heard>,
    ) -> Self {
        let task = tokio::spawn(exchange(request, route, hardware, heard));
        Self { until: Instant::now() + ANSWER_PATIENCE, _task: AbortOnDropHandle::new(task) }
    }

    /// Whether nothing is waited for any more. To be asked now and then: a timer of its own would cost
    /// every exchange a system call.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Sends the request and tells what comes of it, until the task is aborted.
async fn exchange(
    request: Request,
    route: Arc<Route>,
    hardware: Arc<Hardware>,
    heard: mpsc::Sender<Heard>,
) {
    let Request { source, server, token, packet } = request;
    let mut socket = match StampedSocket::connect(server, &route) {
        Ok(socket) => socket,
        Err(error) => {
            debug!(source.addr = %server, "no socket to {server}: {error}");
            if server.is_ipv6() && !IPV6_TOLD.swap(true, Ordering::Relaxed) {
                warn!(
                    "no way to the IPv6 address {server} ({error}): other addresses of a name are tried"
                );
            }
            let _ = heard.send(Heard::Failed(token)).await;
            let _ = heard.send(Heard::Unreachable(source)).await;
            return;
        }
    };
    let device = hardware.clock(|| socket.local_address());
    if device.is_some() {
        socket.want_hardware_stamps();
    }
    let device = device.as_deref();
    let before = Moment::before(device);
    if let Err(error) = socket.send(&packet) {
        debug!(source.addr = %server, "cannot send to {server}: {error}");
        let _ = heard.send(Heard::Failed(token)).await;
        return;
    }
    let after_send = Moment::after(device);
    let stamps = socket.sent_stamps(&packet).await;
    let stamp = if stamps.kernel.or(stamps.hardware.map(Timestamp::from_ns)).is_some() {
        Between(before, Moment::after(device)).stamp(stamps)
    } else {
        Between(before, after_send).stamp(stamps)
    };
    let Some(stamp) = stamp else {
        debug!(source.addr = %server, "the host was suspended while a request was sent");
        let _ = heard.send(Heard::Failed(token)).await;
        return;
    };
    trace!(source.addr = %server, ?stamp, "sent");
    if heard.send(Heard::Sent(token, stamp)).await.is_ok() {
        listen(&socket, source, server, (before, device), &heard).await;
    }
}

/// Hands on what arrives. `before` was read before the request left: a near server answers faster than
/// the clocks can be read again.
async fn listen(
    socket: &StampedSocket,
    source: SourceId,
    server: SocketAddr,
    (before, device): (Moment, Option<&File>),
    heard: &mpsc::Sender<Heard>,
) {
    for _ in 0..MAX_DATAGRAMS {
        let received = match socket.receive().await {
            Ok(received) => received,
            Err(error) => {
                debug!(source.addr = %server, "{server} does not answer: {error}");
                let _ = heard.send(Heard::Unreachable(source)).await;
                return;
            }
        };
        let Some(stamp) = Between(before, Moment::after(device)).stamp(received.stamps) else {
            debug!(source.addr = %server, "the host was suspended before an answer was read");
            return;
        };
        trace!(source.addr = %server, ?stamp, "received {} bytes", received.bytes.len());
        if heard.send(Heard::Datagram(source, received.bytes, stamp)).await.is_err() {
            return;
        }
        // Usually that was the answer, and this task is ended before it looks for more.
        tokio::task::yield_now().await;
    }
}

/// The clocks, and the time suspended so far.
#[derive(Clone, Copy)]
struct Moment {
    clock: ClockReading,
    suspended: Option<Bounds>,
    /// `hardware clock − raw`, if the interface stamps packets.
    device_less_raw: Option<Bounds>,
}

// The order of reading matters: two moments span everything read between them.
impl Moment {
    fn before(device: Option<&File>) -> Self {
        let suspended = clock::suspended_so_far();
        let clock = clock::cross_read();
        Self { clock, suspended, device_less_raw: device_less_raw(device, &clock) }
    }

    fn after(device: Option<&File>) -> Self {
        let clock = clock::cross_read();
        let device_less_raw = device_less_raw(device, &clock);
        Self { clock, suspended: clock::suspended_so_far(), device_less_raw }
    }
}

fn device_less_raw(device: Option<&File>, clock: &ClockReading) -> Option<Bounds> {
    hardware::less_raw(device?, Bounds::around(clock.difference(), clock.uncertainty))
}

/// What was read before and after a stamp was taken.
struct Between(Moment, Moment);

impl Between {
    /// The stamp on the raw clock, from the kernel's if that means anything; `None` if the host was
    /// suspended meanwhile: the raw clock stood still, and no interval on it is the time that passed.
    fn stamp(&self, stamps: Stamps) -> Option<Stamp> {
        if clock::suspended_between(self.0.suspended, self.1.suspended).is_some() {
            return None;
        }
        let hardware = stamps.hardware.and_then(|stamp| self.hardware(stamp));
        let kernel = || stamps.kernel.and_then(|stamp| self.kernel(stamp));
        Some(hardware.or_else(kernel).unwrap_or_else(|| self.user()))
    }

    /// Some moment between the readings: true whatever happens to the system clock.
    fn user(&self) -> Stamp {
        Stamp {
            earliest: self.0.clock.raw - self.0.clock.uncertainty,
            latest: self.1.clock.raw + self.1.clock.uncertainty,
            kind: StampKind::User,
        }
    }

    /// A kernel stamp on the raw clock; `None` if the clock was set between the readings.
    fn kernel(&self, stamp: Timestamp<Host>) -> Option<Stamp> {
        let difference =
            |reading: &ClockReading| Bounds::around(reading.difference(), reading.uncertainty);
        let hull = difference(&self.0.clock).hull(difference(&self.1.clock));
        self.on_raw(stamp.as_ns(), hull, StampKind::Kernel)
    }

    /// A stamp by the interface on the raw clock; `None` if its clock was set between the readings.
    fn hardware(&self, stamp: i64) -> Option<Stamp> {
        let hull = self.0.device_less_raw?.hull(self.1.device_less_raw?);
        self.on_raw(stamp, hull, StampKind::Hardware)
    }

    /// A stamp of a clock that is `less_raw` ahead of the raw one.
    fn on_raw(&self, stamp: i64, less_raw: Bounds, kind: StampKind) -> Option<Stamp> {
        if less_raw.width() > STEP_BETWEEN_READINGS {
            return None;
        }
        let at = |difference: Span| -> Timestamp<Raw> {
            Timestamp::from_ns(stamp.saturating_sub(difference.as_ns()))
        };
        // The packet passed between the readings: what lies outside is a stamp of something else, or
        // of a clock that was set and set back.
        let outer = self.user();
        let earliest = at(less_raw.hi()).max(outer.earliest);
        let latest = std::cmp::min(at(less_raw.lo()), outer.latest);
        (earliest <= latest).then_some(Stamp { earliest, latest, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(raw: i64, difference: i64, uncertainty: i64) -> Moment {
        let clock = ClockReading {
            raw: Timestamp::from_ns(raw),
            realtime: Timestamp::from_ns(raw + difference),
            uncertainty: Span::from_ns(uncertainty),
        };
        Moment { clock, suspended: Some(Bounds::point(Span::SECOND)), device_less_raw: None }
    }

    /// Proves that the raw stamp contains the true moment however the clock was slewed meanwhile.
    #[test]
    fn a_kernel_stamp_becomes_the_hull_of_both_readings() {
        let between = Between(reading(1_000, 50_000, 10), reading(9_000, 50_200, 20));
        let stamp = between.kernel(Timestamp::from_ns(55_000)).unwrap();
        // realtime − raw lies in [49 990, 50 220].
        assert_eq!(stamp.earliest.as_ns(), 4_780);
        assert_eq!(stamp.latest.as_ns(), 5_010);
        assert_eq!(stamp.kind, StampKind::Kernel);
    }

    /// Proves that a step between the readings, or a stamp from outside of them, is not believed.
    #[test]
    fn a_clock_that_was_set_gives_no_stamp() {
        let stepped = Between(reading(1_000, 50_000, 10), reading(9_000, 750_000, 10));
        assert_eq!(stepped.kernel(Timestamp::from_ns(55_000)), None);
        let quiet = Between(reading(1_000, 50_000, 10), reading(9_000, 50_000, 10));
        assert_eq!(quiet.kernel(Timestamp::from_ns(70_000)), None);
        assert_eq!(quiet.kernel(Timestamp::from_ns(40_000)), None);
    }

    /// Proves that an exchange during which the host slept gives no stamp at all, whoever stamped it;
    /// and that where the kernel does not count sleep, or there was none, it gives one.
    #[test]
    fn an_exchange_across_a_suspend_gives_no_stamp() {
        let (before, mut after) = (reading(1_000, 50_000, 10), reading(9_000, 50_000, 10));
        let kernel = Stamps { kernel: Some(Timestamp::from_ns(55_000)), hardware: None };
        assert!(Between(before, after).stamp(kernel).is_some());
        after.suspended = Some(Bounds::point(Span::from_secs(3600)));
        assert_eq!(Between(before, after).stamp(kernel), None);
        assert_eq!(Between(before, after).stamp(Stamps::default()), None);
        after.suspended = None;
        assert_eq!(Between(before, after).stamp(Stamps::default()).unwrap().kind, StampKind::User);
    }

    /// Proves that the interface's stamp is preferred, translated by what lies between its clock and the
    /// raw one, and left for the kernel's if its clock was set meanwhile.
    #[test]
    fn a_hardware_stamp_is_translated_to_the_raw_clock() {
        let ahead = |lo, hi| Bounds::new(Span::from_ns(lo), Span::from_ns(hi));
        let (mut before, mut after) = (reading(1_000, 50_000, 10), reading(9_000, 50_000, 10));
        (before.device_less_raw, after.device_less_raw) =
            (ahead(7_000, 7_020), ahead(7_010, 7_050));
        let stamps = Stamps { kernel: Some(Timestamp::from_ns(55_000)), hardware: Some(12_000) };
        let stamp = Between(before, after).stamp(stamps).unwrap();
        assert_eq!((stamp.earliest.as_ns(), stamp.latest.as_ns()), (4_950, 5_000));
        assert_eq!(stamp.kind, StampKind::Hardware);
        after.device_less_raw = ahead(37_000_000_000, 37_000_000_020);
        assert_eq!(Between(before, after).stamp(stamps).unwrap().kind, StampKind::Kernel);
    }
}
