//! Exchanges of keys with NTS servers (RFC 8915 section 4): TCP and TLS 1.3 around [`agent_core::nts::ke`].
//!
//! Blocking, on a thread of its own for each exchange: TLS computes for milliseconds, and the time path
//! waits for nobody.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_core::SourceId;
use agent_core::nts::ke::{self, Direction};
use agent_core::nts::{NtsFailure, NtsKeys};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::sys::route::Route;

/// Longest wait for one step of the peer, and for all of them.
const STEP_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(15);

/// With whom to exchange keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyServer {
    /// The name that its certificate must have.
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Certificate authorities; `None`: the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Where it answers NTP, if it does not say otherwise.
    pub(crate) ntp: SocketAddr,
}

/// The exchanges under way.
#[derive(Debug)]
pub(crate) struct KeyExchanges {
    route: Arc<Route>,
    tasks: JoinSet<Exchanged>,
}

/// What came of an exchange.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) source: SourceId,
    pub(crate) server: KeyServer,
    /// The keys, and where to use them.
    pub(crate) result: Result<(NtsKeys, SocketAddr), ExchangeError>,
}

impl KeyExchanges {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        Self { route, tasks: JoinSet::new() }
    }

    /// Exchanges keys, at once: how often that happens is the engine's affair.
    pub(crate) fn start(&mut self, source: SourceId, server: KeyServer) {
        let route = Arc::clone(&self.route);
        self.tasks.spawn(async move {
            let blocking = server.clone();
            let exchange = move || exchange_keys(&blocking, &route);
            let exchanged = tokio::task::spawn_blocking(exchange).await;
            let result = match exchanged {
                Ok(Ok(keys)) => located(keys, &server).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(ExchangeError::Connection(ErrorKind::Other.into())),
            };
            Exchanged { source, server, result }
        });
    }

    /// What came of the next one; `None` while there is none under way.
    pub(crate) async fn done(&mut self) -> Option<Exchanged> {
        let exchanged = self.tasks.join_next().await?.ok()?;
        let Exchanged { server: KeyServer { name, address, .. }, result, .. } = &exchanged;
        match result {
            Ok((keys, ntp)) => {
                let (aead, cookies) = (keys.aead.number(), keys.cookies.len());
                info!(
                    "{name} gave keys at {address} for AEAD {aead}, and {cookies} cookies for NTP at {ntp}"
                );
            }
            Err(error) => warn!("{name} gave no keys at {address}: {error}"),
        }
        Some(exchanged)
    }
}

/// Where the keys are to be used.
async fn located(
    keys: NtsKeys,
    server: &KeyServer,
) -> Result<(NtsKeys, SocketAddr), ExchangeError> {
    let port = keys.port.unwrap_or(server.ntp.port());
    let Some(name) = &keys.server else {
        let address = SocketAddr::new(server.ntp.ip(), port);
        return Ok((keys, address));
    };
    let lookup = tokio::net::lookup_host((name.as_str(), port));
    let found = timeout(STEP_PATIENCE, lookup).await.map_err(|_| ErrorKind::TimedOut.into());
    let address = found.and_then(|found| found)?.next();
    let address = address.ok_or(std::io::Error::from(ErrorKind::AddrNotAvailable))?;
    Ok((keys, address))
}

/// Why there are no keys, for people.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    /// No authorities to check certificates by.
    #[error("no certificate authorities: {0}")]
    Authorities(String),
    /// The name cannot be in a certificate.
    #[error("\"{0}\" is not a name that a certificate could have")]
    Name(String),
    /// The certificate is of another time, or this clock is wrong.
    #[error(
        "by this host's clock, its certificate is not valid now; if the clock is far off, it has to be set \
         once without NTS: {0}"
    )]
    Clock(rustls::Error),
    /// The certificate or the handshake is wrong.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The server speaks TLS but does not exchange keys.
    #[error("it does not speak ntske/1")]
    Protocol,
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(#[from] std::io::Error),
    /// What the server said is of no use.
    #[error("{0}")]
    Response(#[from] ke::KeError),
}

impl ExchangeError {
    /// The same, as far as the engine wants to know.
    pub(crate) fn failure(&self) -> NtsFailure {
        match self {
            Self::Connection(_) => NtsFailure::Connection,
            Self::Response(error) => NtsFailure::Protocol(*error),
            Self::Authorities(_)
            | Self::Name(_)
            | Self::Clock(_)
            | Self::Tls(_)
            | Self::Protocol => NtsFailure::Tls,
        }
    }
}

/// Exchanges keys. Blocks for at most [`PATIENCE`].
pub(crate) fn exchange_keys(server: &KeyServer, route: &Route) -> Result<NtsKeys, ExchangeError> {
    let until = Instant::now() + PATIENCE;
    let name = ServerName::try_from(server.name.clone())
        .map_err(|_| ExchangeError::Name(server.name.clone()))?;
    let config = client(authorities(server.ca_file.as_deref())?)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(ExchangeError::Tls)?;
    let socket = route.stream(server.address, STEP_PATIENCE)?;
    let mut stream = StreamOwned::new(connection, Bounded { socket, until });
    let response = ask(&mut stream).map_err(explained)?;
    if stream.conn.alpn_protocol() != Some(ke::ALPN) {
        return Err(ExchangeError::Protocol);
    }
    let response = ke::parse(&response)?;
    let export = |direction| {
        let context = response.exporter_context(direction);
        let room = vec![0; response.key_length()];
        stream.conn.export_keying_material(room, ke::EXPORTER_LABEL, Some(&context))
    };
    let c2s = export(Direction::ClientToServer).map_err(ExchangeError::Tls)?;
    let s2c = export(Direction::ServerToClient).map_err(ExchangeError::Tls)?;
    Ok(response.with_keys(c2s, s2c)?)
}

/// A connection that ends at a time, however busy the peer is: a handshake that trickles in is progress
/// at every step.
struct Bounded {
    socket: TcpStream,
    until: Instant,
}

impl Bounded {
    fn patience(&self) -> std::io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(ErrorKind::TimedOut.into())
        } else {
            Ok(Some(left.min(STEP_PATIENCE)))
        }
    }
}

impl Read for Bounded {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        self.socket.set_read_timeout(self.patience()?)?;
        self.socket.read(room)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.set_write_timeout(self.patience()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

/// What the server says; of one that says too much, more than [`ke::MAX_RESPONSE`].
fn ask(stream: &mut StreamOwned<ClientConnection, Bounded>) -> std::io::Result<Vec<u8>> {
    stream.write_all(&ke::request())?;
    stream.flush()?;
    let mut response = Vec::new();
    while !ke::is_complete(&response) && response.len() <= ke::MAX_RESPONSE {
        let mut room = [0; 1024];
        let length = match stream.read(&mut room) {
            // An end without a farewell is an end all the same: what is missing will be missed.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        if length == 0 {
            break;
        }
        response.extend_from_slice(&room[..length]);
    }
    Ok(response)
}

/// What rustls hides in an error of reading or writing.
fn explained(error: std::io::Error) -> ExchangeError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
    match tls {
        Some(rustls::Error::InvalidCertificate(
            ref why @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        )) => ExchangeError::Clock(rustls::Error::InvalidCertificate(why.clone())),
        Some(error) => ExchangeError::Tls(error),
        None => match error.kind() {
            ErrorKind::WouldBlock => ExchangeError::Connection(ErrorKind::TimedOut.into()),
            ErrorKind::UnexpectedEof => ExchangeError::Connection(std::io::Error::new(
                error.kind(),
                "it hung up on the handshake",
            )),
            _ => ExchangeError::Connection(error),
        },
    }
}

fn client(roots: RootCertStore) -> Result<ClientConfig, ExchangeError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ExchangeError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ke::ALPN.to_vec()];
    // Every exchange is a new one: a session resumed would be one that somebody could follow.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, ExchangeError> {
    let mut roots = RootCertStore::empty();
    let (place, found) = match file {
        Some(file) => {
            let place = file.display().to_string();
            let problem = |error| ExchangeError::Authorities(format!("{place}: {error}"));
            let found: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            let found = found.map_err(problem)?;
            (place, found)
        }
        None => ("this system's".to_owned(), rustls_native_certs::load_native_certs().certs),
    };
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(ExchangeError::Authorities(format!("{place}: none can be used")));
    }
    Ok(roots)
}
