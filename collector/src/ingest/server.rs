use std::net::SocketAddr;

use prometheus_client::registry::Registry;
use store::Store;

use super::Listener;
use crate::config::ingest::Ingest;

/// The running ingest role.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Starts to take reports.
    pub fn start(at: Listener, _store: Store, _config: &Ingest, _registry: &mut Registry) -> Self {
        Self { address: at.address }
    }

    /// Where agents connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops.
    pub async fn stop(self) {}
}
