use agent_core::{AuthConfig, EngineConfig};
use timebase::Span;

use crate::{Crystal, Leap, Path, Server, Steering};

/// One source of a host and the way there.
#[derive(Clone, Debug)]
pub struct SourceLink {
    /// The name in the host's configuration.
    pub name: String,
    /// The way.
    pub path: Path,
    /// What answers at its end.
    pub server: Server,
    /// What the name means now, as the last part of an address; `None`: it cannot be looked up. A
    /// packet to another address goes nowhere.
    pub address: Option<u8>,
    /// What proof the host asks for.
    pub auth: AuthConfig,
}

impl SourceLink {
    /// A source at some address.
    pub fn new(name: &str, path: Path, server: Server) -> Self {
        Self { name: name.into(), path, server, address: Some(1), auth: AuthConfig::None }
    }
}

/// What can go wrong on a host.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Somebody sets the system clock by this much.
    Step(Span),
    /// The host is down for this long and boots again.
    Reboot {
        /// Time from going down to the agent's start.
        down: Span,
    },
    /// Nothing runs for this long; clocks and network do.
    Pause(Span),
    /// The host sleeps: its crystal stops, packets that come are lost, and the system clock is set
    /// right by the hardware clock on waking.
    Suspend {
        /// For how long.
        lasts: Span,
        /// Whether the agent is told, as its shell is by CLOCK_BOOTTIME.
        noticed: bool,
    },
    /// A virtual machine is stopped for so long, or goes on from a snapshot that old: all its clocks stand
    /// still, packets that come are lost, and nothing tells.
    Freeze(Span),
    /// Every source stops answering.
    SourcesDie,
    /// Every source answers again.
    SourcesReturn,
    /// The clock of one source moves this far from UTC while its claim stays.
    SourceLies {
        /// Place in the list of sources.
        source: usize,
        /// Its clock − UTC from then on.
        error: Span,
    },
    /// Another server answers in place of one source's.
    ServerBecomes {
        /// Place in the list of sources.
        source: usize,
        /// What answers from then on.
        server: Box<Server>,
    },
    /// The name of one source means another address, where the server is now.
    SourceMoves {
        /// Place in the list of sources.
        source: usize,
        /// The last part of the new address.
        to: u8,
    },
    /// The way to one source is another.
    PathBecomes {
        /// Place in the list of sources.
        source: usize,
        /// The way from then on.
        path: Box<Path>,
    },
}

/// The knobs of one simulated host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Host name.
    pub name: String,
    /// Service it belongs to.
    pub service: String,
    /// Everything random on this host follows from it.
    pub seed: u64,
    /// Its crystal.
    pub crystal: Crystal,
    /// Error of the system clock at the start.
    pub initial_error: Span,
    /// Who steers the system clock.
    pub steering: Steering,
    /// How wide the stamps of packets are, each way: what a translation between clocks leaves open.
    pub stamp_width: Span,
    /// Its sources.
    pub links: Vec<SourceLink>,
    /// What goes wrong: when after the start, and how often again.
    pub faults: Vec<(Span, Option<Span>, Fault)>,
    /// A leap second in this world.
    pub leap: Option<Leap>,
    /// Time between reports.
    pub report_every: Span,
    /// Shortest and longest poll interval, log2 seconds.
    pub poll_log2: (i8, i8),
    /// Settings of the engine.
    pub engine: EngineConfig,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            name: "sim".into(),
            service: String::new(),
            seed: 1,
            crystal: Crystal::ordinary(),
            initial_error: Span::ZERO,
            steering: Steering::Every {
                every: Span::from_secs(16),
                aim: Span::ZERO,
                noise: Span::from_ns(20_000),
            },
            stamp_width: Span::from_ns(60),
            links: Vec::new(),
            faults: Vec::new(),
            leap: None,
            report_every: Span::from_secs(10),
            poll_log2: (4, 6),
            engine: EngineConfig::default(),
        }
    }
}
