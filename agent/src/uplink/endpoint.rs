use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Uri};

/// Longest wait for a TCP (and TLS) connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is probed this often, so that a collector that vanished is noticed.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
/// A probe unanswered for this long closes the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a collector address cannot be used.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// Not a URL of the accepted form.
    #[error("collector \"{0}\" is not a URL such as https://collector.example.net:4461")]
    Url(String),
    /// Plain gRPC to another machine.
    #[error(
        "collector \"{0}\" would be spoken to without TLS over the network: use https://, or set \
         allow-plain = true if the network is trusted"
    )]
    Plain(String),
    /// The certificate authority file cannot be read.
    #[error("ca-file {path}: {error}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The TLS settings cannot be used.
    #[error("TLS to \"{0}\": {1}")]
    Tls(String, tonic::transport::Error),
}

/// The collector's address, checked: plain gRPC stays on loopback unless `allow_plain`.
///
/// `https` trusts the system's certificate authorities, or those of `ca_file` alone.
pub fn collector_endpoint(
    url: &str,
    ca_file: Option<&Path>,
    allow_plain: bool,
) -> Result<Endpoint, EndpointError> {
    let uri: Uri = url.parse().map_err(|_| EndpointError::Url(url.to_owned()))?;
    let host = uri.host().ok_or_else(|| EndpointError::Url(url.to_owned()))?.to_owned();
    let endpoint = Endpoint::from(uri.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    match uri.scheme_str() {
        Some("http") if allow_plain || is_loopback(&host) => Ok(endpoint),
        Some("http") => Err(EndpointError::Plain(url.to_owned())),
        Some("https") => {
            let tls = match ca_file {
                Some(path) => {
                    let pem = std::fs::read(path)
                        .map_err(|error| EndpointError::CaFile { path: path.to_owned(), error })?;
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
                }
                None => ClientTlsConfig::new().with_native_roots(),
            };
            let name = host.trim_matches(['[', ']']).to_owned();
            endpoint
                .tls_config(tls.domain_name(name))
                .map_err(|error| EndpointError::Tls(url.to_owned(), error))
        }
        _ => Err(EndpointError::Url(url.to_owned())),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that plain gRPC is confined to loopback unless it is allowed in words.
    #[test]
    fn plain_is_for_loopback() {
        for url in ["http://127.0.0.1:4461", "http://localhost:4461", "http://[::1]:4461"] {
            assert!(collector_endpoint(url, None, false).is_ok(), "{url}");
        }
        let remote = "http://192.0.2.1:4461";
        assert!(matches!(collector_endpoint(remote, None, false), Err(EndpointError::Plain(_))));
        assert!(collector_endpoint(remote, None, true).is_ok());
        for bad in ["", "collector", "ftp://127.0.0.1"] {
            assert!(
                matches!(collector_endpoint(bad, None, true), Err(EndpointError::Url(_))),
                "{bad}"
            );
        }
    }
}
