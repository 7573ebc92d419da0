//! `[grpc]`, `[web]`, `[observe]`: the addresses served.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Where agents connect.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Grpc {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// PEM certificate chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Serve without TLS beyond loopback.
    pub allow_plain: bool,
}

impl Grpc {
    /// Refuses to carry credentials in clear by accident.
    ///
    /// # Errors
    /// Half a TLS configuration, or none beyond loopback.
    pub fn check(&self) -> anyhow::Result<()> {
        let (certificate, key) = (self.tls_certificate_file.is_some(), self.tls_key_file.is_some());
        ensure!(
            certificate == key,
            "[grpc] tls-certificate-file and tls-key-file belong together: one is missing"
        );
        ensure!(
            certificate || self.allow_plain || self.listen.ip().is_loopback(),
            "[grpc] listen = \"{}\" is reachable from elsewhere and has no TLS: set \
             tls-certificate-file and tls-key-file, or allow-plain = true to send host credentials \
             in clear",
            self.listen
        );
        Ok(())
    }
}

/// Where people connect.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Web {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Cookies over TLS only.
    pub secure_cookies: bool,
    /// Serve without TLS beyond loopback.
    pub allow_plain: bool,
}

impl Web {
    /// Refuses to carry passwords in clear by accident.
    ///
    /// # Errors
    /// Reachable from elsewhere, and nothing says that a proxy adds TLS.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.secure_cookies || self.allow_plain || self.listen.ip().is_loopback(),
            "[web] listen = \"{}\" is reachable from elsewhere and has no TLS: set \
             secure-cookies = true if a proxy in front adds TLS, or allow-plain = true to send \
             passwords and sign-in cookies in clear",
            self.listen
        );
        Ok(())
    }
}

/// Metrics and health.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Observe {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
}
