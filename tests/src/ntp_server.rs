use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use timebase::Span;

use crate::clock;

/// What a synthetic server says of itself; may be changed while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Claims {
    /// Its clock less this machine's: a client that believes it finds an error of `−offset`.
    pub offset: Span,
    /// 1 to 15.
    pub stratum: u8,
    /// Its own round trip to its reference.
    pub root_delay: Span,
    /// Its own error against its reference.
    pub root_dispersion: Span,
    /// What it answers with.
    pub reply: Reply,
}

/// How a synthetic server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As RFC 5905 says.
    Well,
    /// Bytes that are no NTP, of a changing length from none to more than a packet.
    Garbage,
    /// A well-formed answer to a question that was never asked.
    WrongOrigin,
    /// Not at all.
    Silence,
}

impl Default for Claims {
    /// A good stratum 1 server.
    fn default() -> Self {
        Self {
            offset: Span::ZERO,
            stratum: 1,
            root_delay: Span::ZERO,
            root_dispersion: Span::MICROSECOND,
            reply: Reply::Well,
        }
    }
}

/// A real NTPv4 server on a loopback port with a clock of its own.
#[derive(Debug)]
pub struct NtpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    claims: Mutex<Claims>,
    answered: AtomicU64,
}

impl NtpServer {
    /// Starts one on a free port.
    pub fn start(claims: Claims) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared { claims: Mutex::new(claims), answered: AtomicU64::new(0) });
        let weak = Arc::downgrade(&shared);
        let thread = std::thread::spawn(move || {
            // Ends when the server's handle is gone.
            while let Some(shared) = weak.upgrade() {
                serve_one(&socket, &shared);
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// `127.0.0.1:port`, as an agent's source is named.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// Changes what it says from the next answer on.
    pub fn change(&self, change: impl FnOnce(&mut Claims)) {
        change(&mut self.shared.claims.lock().expect("invariant: no holder panics"));
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for NtpServer {
    fn drop(&mut self) {
        self.shared = Arc::new(Shared { claims: Mutex::default(), answered: AtomicU64::new(0) });
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve_one(socket: &UdpSocket, shared: &Shared) {
    let mut request = [0u8; 512];
    let Ok((length, client)) = socket.recv_from(&mut request) else { return };
    let received = clock::since_1970();
    if length < 48 || request[0] & 7 != 3 {
        return;
    }
    let claims = *shared.claims.lock().expect("invariant: no holder panics");
    let count = shared.answered.fetch_add(1, Ordering::Relaxed);
    let sent = match claims.reply {
        Reply::Silence => return,
        Reply::Garbage => socket.send_to(&vec![0xa5; count as usize * 37 % 1000], client),
        Reply::Well => socket.send_to(&answer(&claims, &request, received), client),
        Reply::WrongOrigin => {
            let mut packet = answer(&claims, &request, received);
            packet[31] ^= 0x55;
            socket.send_to(&packet, client)
        }
    };
    // The client may be gone; that is its affair.
    let _ = sent;
}

/// RFC 5905 figure 8, mode 4.
fn answer(claims: &Claims, request: &[u8], received: Duration) -> [u8; 48] {
    let mut packet = [0u8; 48];
    packet[0] = 4 << 3 | 4; // no leap warning, version 4, server
    packet[1] = claims.stratum;
    packet[2] = request[2];
    packet[3] = (-20i8).cast_unsigned(); // about a microsecond
    packet[4..8].copy_from_slice(&short(claims.root_delay));
    packet[8..12].copy_from_slice(&short(claims.root_dispersion));
    packet[12..16].copy_from_slice(b"TEST");
    packet[16..24].copy_from_slice(&long(received, claims.offset - Span::SECOND));
    packet[24..32].copy_from_slice(&request[40..48]);
    packet[32..40].copy_from_slice(&long(received, claims.offset));
    packet[40..48].copy_from_slice(&long(clock::since_1970(), claims.offset));
    packet
}

/// The 16.16 format of root delay and dispersion.
fn short(span: Span) -> [u8; 4] {
    ((span.as_secs_f64() * 65536.0).ceil() as u32).to_be_bytes()
}

/// The 32.32 format, seconds since 1900.
fn long(since_1970: Duration, offset: Span) -> [u8; 8] {
    const FROM_1900_NS: i128 = 2_208_988_800 * 1_000_000_000;
    let ns = since_1970.as_nanos() as i128 + i128::from(offset.as_ns()) + FROM_1900_NS;
    (((ns << 32) / 1_000_000_000) as u64).to_be_bytes()
}
