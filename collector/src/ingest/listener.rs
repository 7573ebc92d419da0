use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::config::listen::Grpc;

/// The bound address of the ingest role, with its TLS identity.
pub struct Listener {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Reads the certificate, if there is one, and binds.
    ///
    /// # Errors
    /// The address would carry credentials in clear, a file cannot be read or used, or the port is in use.
    pub async fn bind(grpc: &Grpc) -> anyhow::Result<Self> {
        grpc.check()?;
        let tls = match (&grpc.tls_certificate_file, &grpc.tls_key_file) {
            (Some(certificate), Some(key)) => Some(tls(certificate, key)?),
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

fn tls(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let named = |key: &str, path: &Path| format!("[grpc] {key}: {}", path.display());
    let certificates: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| named("tls-certificate-file", certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| named("tls-key-file", key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .with_context(|| named("tls-certificate-file and tls-key-file", certificate))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
