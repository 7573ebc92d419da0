use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::uplink::{Clocks, Credentials, Reporter, Secret, Uplink, UplinkMetrics, UplinkState};
use agent_sim::{HostConfig, SimHost};
use fleet_proto::pb;
use timebase::{BootId, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use super::backlog::MemoryBacklog;
use crate::World;

/// What all hosts of the fleet have in common.
pub(crate) struct Shared {
    pub(crate) join_token: Secret,
    pub(crate) state_dir: PathBuf,
    pub(crate) metrics: UplinkMetrics,
    pub(crate) uplinks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) drain: Duration,
}

/// One simulated host and its way to the collector.
pub(crate) struct Member {
    world: World,
    channel: Channel,
    shared: Arc<Shared>,
    inner: Arc<Mutex<Inner>>,
    grown: Arc<Notify>,
    /// The boot that has an uplink, and how to end that.
    connected: Option<(BootId, CancellationToken)>,
}

struct Inner {
    host: SimHost,
    backlog: Arc<Mutex<MemoryBacklog>>,
}

impl Inner {
    /// Brings the host to the present; true if it has something to send.
    fn advance(&mut self, world: World) -> bool {
        let mut reports = Vec::new();
        self.host.advance(world.now(), &mut reports);
        let mut backlog = lock(&self.backlog);
        for made in &reports {
            backlog.push(made.boot, &made.report);
        }
        !reports.is_empty()
    }
}

impl Member {
    pub(crate) fn new(
        config: HostConfig,
        channel: Channel,
        world: World,
        shared: &Arc<Shared>,
    ) -> Self {
        let host = SimHost::new(config, world.now());
        let inner = Inner { host, backlog: Arc::default() };
        Self {
            world,
            channel,
            shared: shared.clone(),
            inner: Arc::new(Mutex::new(inner)),
            grown: Arc::new(Notify::new()),
            connected: None,
        }
    }

    /// Brings the host to the present, hands over what it reports, and connects it after a boot.
    pub(crate) fn tick(&mut self) {
        let (grew, boot) = {
            let mut inner = lock(&self.inner);
            (inner.advance(self.world), inner.host.boot())
        };
        if self.connected.as_ref().map(|(connected, _)| *connected) != boot {
            if let Some((_, stop)) = self.connected.take() {
                stop.cancel();
            }
            self.connected = boot.map(|boot| (boot, self.connect(boot)));
        }
        if grew {
            self.grown.notify_one();
        }
    }

    /// Reports that wait to be acknowledged.
    pub(crate) fn waiting(&self) -> usize {
        let inner = lock(&self.inner);
        let mut backlog = lock(&inner.backlog);
        let forgotten = backlog.take_forgotten();
        if forgotten > 0 {
            let name = &inner.host.config().name;
            tracing::warn!(host.name = name, "{name} forgot {forgotten} unsent reports");
        }
        backlog.len()
    }

    fn connect(&self, boot: BootId) -> CancellationToken {
        let stop = self.shared.stop.child_token();
        let inner = lock(&self.inner);
        let config = inner.host.config();
        let uplink = Uplink {
            reporter: Reporter {
                host: inner.host.id(),
                boot,
                info: pb::HostInfo {
                    name: config.name.clone(),
                    service: config.service.clone(),
                    labels: [("fleet".to_owned(), "simulated".to_owned())].into(),
                    agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                    simulated: true,
                },
            },
            channel: self.channel.clone(),
            backlog: inner.backlog.clone(),
            grown: self.grown.clone(),
            credentials: FileCredentials {
                file: self.shared.state_dir.join(inner.host.id().to_string()),
                join_token: self.shared.join_token.clone(),
                unwritten: None,
            },
            clocks: self.clocks(),
            metrics: self.shared.metrics.clone(),
            state: watch::channel(UplinkState::Down("not tried yet".to_owned())).0,
        };
        self.shared.uplinks.spawn(uplink.run(stop.clone(), self.shared.drain));
        stop
    }

    /// The host's two clocks now; while it is down, nobody asks.
    fn clocks(&self) -> Clocks {
        let (inner, world) = (self.inner.clone(), self.world);
        Arc::new(move || {
            let mut inner = lock(&inner);
            inner.advance(world);
            inner.host.clocks(world.now()).map_or_else(
                || (Timestamp::from_ns(0), Timestamp::from_ns(0)),
                |reading| (reading.realtime, reading.raw),
            )
        })
    }
}

/// The credential of a simulated host: one file named by its id.
struct FileCredentials {
    file: PathBuf,
    join_token: Secret,
    /// A credential that the disk refused to take; it serves until the fleet ends.
    unwritten: Option<Secret>,
}

impl Credentials for FileCredentials {
    fn credential(&self) -> io::Result<Option<Secret>> {
        if let Some(credential) = &self.unwritten {
            return Ok(Some(credential.clone()));
        }
        match std::fs::read_to_string(&self.file) {
            Ok(text) => Ok(Some(Secret::new(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep(&mut self, credential: &Secret) -> io::Result<()> {
        let written = write(&self.file, credential.expose());
        self.unwritten = written.is_err().then(|| credential.clone());
        written
    }

    fn join_token(&self) -> io::Result<Option<Secret>> {
        Ok(Some(self.join_token.clone()))
    }
}

/// Writes a secret into a file that only its owner reads.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a credential the disk does not take serves all the same, as it is given only once.
    #[test]
    fn a_credential_outlives_a_disk_that_refuses_it() {
        let nowhere = Path::new("/dev/null/credential").to_owned();
        let join_token = Secret::new("tcj_x");
        let mut credentials = FileCredentials { file: nowhere, join_token, unwritten: None };
        let given = Secret::new("tch_y");
        assert!(credentials.keep(&given).is_err());
        assert_eq!(credentials.credential().unwrap(), Some(given));
    }
}
