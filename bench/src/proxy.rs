//! The emulated paths: a UDP proxy that holds every packet for a drawn delay.
//!
//! A packet's delay counts from the kernel's stamp of its arrival to its release, and the last part of the
//! wait is spent spinning, so that what a packet gets is what was drawn to within microseconds. One thread
//! does it all, with real-time priority where that is allowed.

use std::collections::{BinaryHeap, HashMap};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, TimestampingFlag, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::{TimeSpec, TimeValLike};

use crate::clock;
use crate::delay::{Path, Random};

/// The end of every wait is spent spinning: sleeping is not that exact.
const SPIN_NS: i64 = 60_000;
const LONGEST_SLEEP_NS: i64 = 100_000_000;
/// A client's port is forgotten when it was not heard of for this long.
const SESSION_NS: i64 = 10_000_000_000;
/// Ports of one link remembered; clients use a new one for each request.
const MOST_SESSIONS: usize = 64;
const EVENTS: usize = 64;
const REAL_TIME_PRIORITY: &str = "10";

/// One path from one client to one server.
#[derive(Debug)]
pub(crate) struct Link {
    listen: UdpSocket,
    server: SocketAddr,
    path: Path,
    requests: Arc<AtomicU64>,
}

/// The proxy; stops when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    stop: Arc<AtomicBool>,
    lateness: Arc<Mutex<Vec<i64>>>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// A path that begins at `address`, on a port of the system's choice.
    pub(crate) fn new(address: Ipv4Addr, server: SocketAddr, path: Path) -> Result<Self> {
        let listen = UdpSocket::bind((address, 0)).with_context(|| address.to_string())?;
        Ok(Self { listen, server, path, requests: Arc::default() })
    }

    /// Counts what the client sends.
    pub(crate) fn requests(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.requests)
    }

    /// Where clients send to.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listen.local_addr()?)
    }
}

impl Proxy {
    pub(crate) fn start(links: Vec<Link>, seed: u64) -> Result<Self> {
        let (stop, lateness) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut worker = Worker::new(links, seed, Arc::clone(&lateness))?;
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            hurry();
            while !stopped.load(Ordering::Relaxed) {
                worker.turn();
            }
        })?;
        Ok(Self { stop, lateness, thread: Some(thread) })
    }

    /// How much later than drawn packets were released, in microseconds: median, 99 %, worst.
    pub(crate) fn lateness_us(&self) -> Option<[f64; 3]> {
        let mut all = self.lateness.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_unstable();
        let at = |share: f64| Some(*all.get(((all.len() as f64 - 1.0) * share) as usize)? as f64);
        Some([at(0.5)? / 1e3, at(0.99)? / 1e3, at(1.0)? / 1e3])
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks for real-time priority and exact timers for this thread; without the right to it, packets are
/// released later on a busy machine, and the report shows by how much.
fn hurry() {
    let _ = nix::sys::prctl::set_timerslack(1);
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", REAL_TIME_PRIORITY, &nix::unistd::gettid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[derive(Debug)]
struct Session {
    client: SocketAddr,
    link: usize,
    socket: UdpSocket,
    used: i64,
}

/// A packet on its way.
#[derive(Debug)]
struct Packet {
    release: i64,
    session: u64,
    up: bool,
    bytes: Vec<u8>,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Packet {}
impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Packet {
    /// The earliest is the greatest: a heap gives the greatest first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.release, other.session, other.up).cmp(&(self.release, self.session, self.up))
    }
}

#[derive(Debug)]
struct Worker {
    links: Vec<Link>,
    random: Random,
    epoll: Epoll,
    sessions: HashMap<u64, Session>,
    next_session: u64,
    packets: BinaryHeap<Packet>,
    lateness: Arc<Mutex<Vec<i64>>>,
}

impl Worker {
    fn new(links: Vec<Link>, seed: u64, lateness: Arc<Mutex<Vec<i64>>>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (number, link) in links.iter().enumerate() {
            prepare(&epoll, &link.listen, number as u64)?;
        }
        let next_session = links.len() as u64;
        let (random, sessions, packets) = (Random::new(seed), HashMap::new(), BinaryHeap::new());
        Ok(Self { links, random, epoll, sessions, next_session, packets, lateness })
    }

    fn turn(&mut self) {
        self.release();
        let due = self.packets.peek().map_or(i64::MAX, |packet| packet.release);
        let sleep = due.saturating_sub(SPIN_NS + clock::realtime()).clamp(0, LONGEST_SLEEP_NS);
        let mut ready = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        if !ppoll(&mut ready, Some(TimeSpec::nanoseconds(sleep)), None).is_ok_and(|n| n > 0) {
            return;
        }
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            let token = event.data();
            if token < self.links.len() as u64 {
                self.take_from_client(token as usize);
            } else {
                self.take_from_server(token);
            }
        }
    }

    fn release(&mut self) {
        while self.packets.peek().is_some_and(|p| p.release - clock::realtime() <= SPIN_NS) {
            let Some(packet) = self.packets.pop() else { return };
            let Some(session) = self.sessions.get(&packet.session) else { continue };
            let mut now = clock::realtime();
            while now < packet.release {
                std::hint::spin_loop();
                now = clock::realtime();
            }
            // A packet that cannot be sent is a lost one.
            let _ = if packet.up {
                session.socket.send(&packet.bytes)
            } else {
                self.links[session.link].listen.send_to(&packet.bytes, session.client)
            };
            let mut lateness = self.lateness.lock().unwrap_or_else(PoisonError::into_inner);
            lateness.push(now - packet.release);
        }
    }

    fn take_from_client(&mut self, link: usize) {
        while let Some((bytes, stamp, Some(client))) = receive(&self.links[link].listen) {
            self.links[link].requests.fetch_add(1, Ordering::Relaxed);
            if let Some(session) = self.session(link, client, stamp) {
                self.hold(session, link, true, bytes, stamp);
            }
        }
    }

    fn take_from_server(&mut self, session: u64) {
        while let Some((link, (bytes, stamp, _))) =
            self.sessions.get(&session).and_then(|s| Some((s.link, receive(&s.socket)?)))
        {
            self.hold(session, link, false, bytes, stamp);
        }
    }

    fn hold(&mut self, session: u64, link: usize, up: bool, bytes: Vec<u8>, stamp: i64) {
        let path = self.links[link].path;
        let delay = if up { path.up } else { path.down }.draw(&mut self.random);
        if self.random.uniform() >= path.loss {
            self.packets.push(Packet { release: stamp + delay, session, up, bytes });
        }
    }

    /// The session of a client's port, made if there is none.
    fn session(&mut self, link: usize, client: SocketAddr, now: i64) -> Option<u64> {
        if let Some((id, session)) =
            self.sessions.iter_mut().find(|(_, s)| s.link == link && s.client == client)
        {
            session.used = now;
            return Some(*id);
        }
        self.sessions.retain(|_, session| now - session.used < SESSION_NS);
        if self.sessions.values().filter(|s| s.link == link).count() >= MOST_SESSIONS {
            return None;
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.connect(self.links[link].server).ok()?;
        let id = self.next_session;
        self.next_session += 1;
        prepare(&self.epoll, &socket, id).ok()?;
        self.sessions.insert(id, Session { client, link, socket, used: now });
        Some(id)
    }
}

fn prepare(epoll: &Epoll, socket: &UdpSocket, token: u64) -> Result<()> {
    socket.set_nonblocking(true)?;
    let stamps = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
    setsockopt(socket, sockopt::Timestamping, &stamps)?;
    epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
    Ok(())
}

/// A packet, when it came, and from where.
fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, i64, Option<SocketAddr>)> {
    let (mut bytes, mut control) = (vec![0; 2048], [0; 256]);
    let (length, stamp, from) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)
                .ok()?;
        let stamp = message.cmsgs().into_iter().flatten().find_map(|item| match item {
            ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system.num_nanoseconds()),
            _ => None,
        });
        let from = message.address.map(|a| SocketAddr::V4(SocketAddrV4::from(a)));
        (message.bytes, stamp, from)
    };
    bytes.truncate(length);
    Some((bytes, stamp.filter(|ns| *ns != 0).unwrap_or_else(clock::realtime), from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::Delay;
    use std::time::{Duration, Instant};

    /// Proves that a packet and its answer each get their delay, and that a lossy path loses.
    #[test]
    fn packets_are_held_and_lost() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = server.local_addr().unwrap();
        let path = Path::new(Delay::new(30_000.0, 0.0), Delay::new(50_000.0, 0.0));
        let link = |path| Link::new(Ipv4Addr::LOCALHOST, target, path).unwrap();
        let (held, lost) = (link(path), link(path.losing(1.0)));
        let (to, nowhere) = (held.address().unwrap(), lost.address().unwrap());
        let requests = held.requests();
        let proxy = Proxy::start(vec![held, lost], 1).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (started, mut bytes) = (Instant::now(), [0; 8]);
        client.send_to(b"lost", nowhere).unwrap();
        client.send_to(b"up", to).unwrap();
        let (length, from) = server.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"up");
        assert!(started.elapsed() >= Duration::from_millis(30));
        server.send_to(b"down", from).unwrap();
        let (length, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (&b"down"[..], to));
        assert!(started.elapsed() >= Duration::from_millis(80));
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        assert!(proxy.lateness_us().unwrap()[0] >= 0.0);
    }
}
