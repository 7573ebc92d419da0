use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use tokio::net::TcpListener;
use tonic::transport::{Identity, ServerTlsConfig};

use crate::config::listen::Grpc;

/// The bound address of the ingest role, with its TLS identity.
#[derive(Debug)]
pub struct Listener {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<ServerTlsConfig>,
}

impl Listener {
    /// Reads the certificate, if there is one, and binds.
    ///
    /// # Errors
    /// The address would carry credentials in clear, a file cannot be read, or the port is in use.
    pub async fn bind(grpc: &Grpc) -> anyhow::Result<Self> {
        grpc.check()?;
        let tls = match (&grpc.tls_certificate_file, &grpc.tls_key_file) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::from_pem(
                    read("tls-certificate-file", certificate)?,
                    read("tls-key-file", key)?,
                );
                Some(ServerTlsConfig::new().identity(identity))
            }
            _ => None,
        };
        let at = grpc.listen;
        let listener = TcpListener::bind(at)
            .await
            .with_context(|| format!("[grpc] listen: cannot listen on {at}"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls })
    }
}

fn read(key: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("[grpc] {key}: cannot read {}", path.display()))
}
