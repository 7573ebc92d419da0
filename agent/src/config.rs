//! The agent's configuration: the documented default file, overridden by the user's file, then by
//! the command line.

mod discipline;
mod merge;
mod refclock;
mod text;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use timebase::{Ppb, Span};

use crate::leaps::TablePath;
use crate::sources::{POLL, Server, ServerName};

pub use discipline::Discipline;
pub use refclock::{Edge, Permissions, Refclock, RefclockKind, Smear};

/// The documented sample file is the default.
pub const DEFAULT: &str = include_str!("../agent.default.toml");

/// Report intervals outside of this make no sense: more often loads the fleet, more rarely makes the
/// collector call the host silent.
const REPORT_INTERVAL: std::ops::RangeInclusive<Span> = Span::SECOND..=Span::from_secs(600);
/// Rarer, and nobody would call it reporting.
const BURST_INTERVAL: std::ops::RangeInclusive<Span> = Span::SECOND..=Span::from_secs(3_600);
/// Differentiated services code points have six bits.
const DSCP: std::ops::RangeInclusive<u8> = 0..=63;
/// A network interface's name is shorter than the kernel's IFNAMSIZ.
const INTERFACE_BYTES: usize = 15;
/// The least spool that holds something useful.
const SPOOL_LEAST: u64 = 64 * 1024;
/// Oscillators worse than this are broken; better than 0.1 ppm need no agent.
const DRIFT_PPM: std::ops::RangeInclusive<u32> = 1..=100_000;

/// A server that leaps a minute late is wrong.
const LEAP_AMBIGUITY: std::ops::RangeInclusive<Span> = Span::ZERO..=Span::from_secs(60);

/// Everything that can be set. See `agent.default.toml` for what each means.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented once, in agent.default.toml")]
pub struct Config {
    #[serde(with = "text::optional")]
    pub name: Option<String>,
    pub service: String,
    #[serde(with = "text::optional")]
    pub state_dir: Option<PathBuf>,
    #[serde(with = "text::optional")]
    pub collector: Option<String>,
    pub allow_plain: bool,
    #[serde(with = "text::optional")]
    pub ca_file: Option<PathBuf>,
    #[serde(with = "text::optional")]
    pub join_token_file: Option<PathBuf>,
    #[serde(with = "text::span")]
    pub report_interval: Span,
    #[serde(with = "text::span_or_off")]
    pub burst_interval: Option<Span>,
    pub spool_bytes: u64,
    pub labels: BTreeMap<String, String>,
    pub ntp: Ntp,
    pub discipline: Discipline,
    pub observe: Observe,
    pub status: Status,
    pub log: Log,
    pub leap: Leap,
    /// Tables come last in TOML.
    pub refclock: Vec<Refclock>,
}

/// The `[ntp]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented once, in agent.default.toml")]
pub struct Ntp {
    pub servers: Vec<ServerName>,
    pub min_poll: i8,
    pub max_poll: i8,
    pub iburst: bool,
    pub min_sources: u16,
    pub faults: u16,
    pub drift_limit_ppm: u32,
    pub rate_change_ppm: u32,
    #[serde(with = "text::optional")]
    pub keys_file: Option<PathBuf>,
    #[serde(with = "text::address")]
    pub bind_address: Option<IpAddr>,
    #[serde(with = "text::optional")]
    pub bind_interface: Option<String>,
    pub dscp: u8,
    pub hardware_timestamps: HardwareTimestamps,
    /// Tables come last in TOML.
    #[serde(deserialize_with = "crate::sources::checked")]
    pub server: Vec<Server>,
}

/// What to do about timestamps by network hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardwareTimestamps {
    /// Use them where the interface makes them already.
    Auto,
    /// Turn them on where nobody uses them.
    Configure,
    /// Never use them.
    Off,
}

impl Ntp {
    /// Every server named, in order.
    pub fn all_servers(&self) -> Vec<Server> {
        let named = self.servers.iter().cloned().map(Server::one);
        named.chain(self.server.iter().cloned()).collect()
    }

    /// The drift limit.
    pub fn drift_limit(&self) -> Ppb {
        Ppb::from_ppm(self.drift_limit_ppm.into())
    }

    /// How much the measured rate may change within an hour.
    pub fn rate_change(&self) -> Ppb {
        Ppb::from_ppm(self.rate_change_ppm.into())
    }
}

/// The `[leap]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Leap {
    /// A path, "" for the usual places, "off" for none.
    pub table: String,
    /// How early or late servers may apply a leap second.
    #[serde(with = "text::span")]
    pub ambiguity: Span,
}

/// The `[observe]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Observe {
    /// Where metrics and health are served, if at all.
    #[serde(with = "text::off_or")]
    pub listen: Option<SocketAddr>,
}

/// The `[status]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Status {
    /// A path, "" for the usual place, "off" for none.
    pub socket: String,
    /// A path, "" for the usual place, "off" for none.
    pub control: String,
}

/// The `[log]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines are written.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// Not TOML, an unknown key, or a value of the wrong kind; says the line.
    #[error("{file}: {error}")]
    Parse {
        /// The file.
        file: PathBuf,
        /// With line, column and key.
        error: toml::de::Error,
    },
    /// A value out of its range.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with its table.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Config {
    /// The defaults, overridden by `file` if given. Not yet [validated](Self::validate).
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Read(path.to_owned(), error))?,
            None => String::new(),
        };
        merge::over_default(DEFAULT, &text).map_err(|error| ConfigError::Parse {
            file: file.unwrap_or(Path::new("the built-in defaults")).to_owned(),
            error,
        })
    }

    /// Checks what the type alone does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: String| Err(ConfigError::Value { key, problem });
        if !REPORT_INTERVAL.contains(&self.report_interval) {
            return wrong("report-interval", "must be from 1 s to 10 min".to_owned());
        }
        if self.burst_interval.is_some_and(|every| !BURST_INTERVAL.contains(&every)) {
            return wrong("burst-interval", "must be \"off\" or from 1 s to 1 h".to_owned());
        }
        if self.spool_bytes < SPOOL_LEAST {
            return wrong("spool-bytes", format!("must be at least {SPOOL_LEAST}"));
        }
        let range = format!("must be from {} to {}", POLL.start(), POLL.end());
        if !POLL.contains(&self.ntp.min_poll) {
            return wrong("ntp.min-poll", range);
        }
        if !POLL.contains(&self.ntp.max_poll) {
            return wrong("ntp.max-poll", range);
        }
        if self.ntp.min_poll > self.ntp.max_poll {
            return wrong("ntp.min-poll", "is above ntp.max-poll".to_owned());
        }
        if !DRIFT_PPM.contains(&self.ntp.drift_limit_ppm) {
            return wrong("ntp.drift-limit-ppm", "must be from 1 to 100000".to_owned());
        }
        if !(1..=self.ntp.drift_limit_ppm).contains(&self.ntp.rate_change_ppm) {
            return wrong("ntp.rate-change-ppm", "must be from 1 to drift-limit-ppm".to_owned());
        }
        if !DSCP.contains(&self.ntp.dscp) {
            return wrong("ntp.dscp", "must be from 0 to 63".to_owned());
        }
        let interface = self.ntp.bind_interface.as_deref().unwrap_or("");
        if interface.len() > INTERFACE_BYTES || interface.contains(['/', '\0', ' ']) {
            let problem = format!("\"{interface}\" is not the name of a network interface");
            return wrong("ntp.bind-interface", problem);
        }
        self.discipline.validate()?;
        if !LEAP_AMBIGUITY.contains(&self.leap.ambiguity) {
            return wrong("leap.ambiguity", "must be from 0 s to 1 min".to_owned());
        }
        for clock in &self.refclock {
            if let Err(problem) = clock.validate() {
                return wrong("refclock", format!("{}: {problem}", clock.name()));
            }
        }
        let given = self.ntp.all_servers();
        if !given.is_empty()
            && let Some(problem) = self.unknown_locks(&given).into_iter().next()
        {
            return wrong("refclock", problem);
        }
        let texts = [("name", self.name.as_deref().unwrap_or("")), ("service", &self.service)];
        let labels = self.labels.iter().flat_map(|(k, v)| [("labels", k.as_str()), ("labels", v)]);
        for (key, text) in texts.into_iter().chain(labels) {
            if let Err(refusal) = fleet_proto::convert::name(text.to_owned(), key) {
                return wrong(key, refusal.to_string());
            }
        }
        Ok(())
    }

    /// What is wrong with the reference clocks that are locked to none of `servers` and to no other clock:
    /// they would wait for ever. Servers that are found on the host are known at the start only.
    pub fn unknown_locks(&self, servers: &[Server]) -> Vec<String> {
        let servers = servers.iter().map(|server| server.name.to_string());
        // A pulse cannot number another one.
        let clocks = self.refclock.iter().filter(|clock| clock.kind != RefclockKind::Pps);
        let names: Vec<_> = servers.chain(clocks.map(Refclock::name)).collect();
        let unknown =
            |clock: &&Refclock| clock.lock.as_ref().is_some_and(|lock| !names.contains(lock));
        let problem = |clock: &Refclock| {
            let (name, lock) = (clock.name(), clock.lock.as_deref().unwrap_or(""));
            let known = names.join(", ");
            format!(
                "{name}: lock: no source that numbers pulses is called \"{lock}\": name one of {known}, \
                 or leave it out for the majority"
            )
        };
        self.refclock.iter().filter(unknown).map(problem).collect()
    }

    /// The state directory, set or by default.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(default_state_dir)
    }

    /// The status socket, unless it is off.
    pub fn socket(&self) -> Option<PathBuf> {
        self.local_socket(&self.status.socket, "agent.sock")
    }

    /// The control socket, unless it is off.
    pub fn control_socket(&self) -> Option<PathBuf> {
        self.local_socket(&self.status.control, "control.sock")
    }

    fn local_socket(&self, set: &str, usual: &str) -> Option<PathBuf> {
        match set {
            "off" => None,
            "" => Some(self.state_dir().join(usual)),
            path => Some(path.into()),
        }
    }

    /// The host's name, set or the system's.
    pub fn host_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let system = nix::unistd::gethostname().ok();
            system.and_then(|name| name.into_string().ok()).unwrap_or_else(|| "unnamed".to_owned())
        })
    }

    /// Which table of leap seconds to use.
    pub fn leap_table(&self) -> TablePath {
        match self.leap.table.as_str() {
            "off" => TablePath::Off,
            "" => TablePath::Usual,
            path => TablePath::At(path.into()),
        }
    }

    /// The effective file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: every value of a configuration has a TOML form")
    }
}

fn default_state_dir() -> PathBuf {
    let home_state = || {
        let xdg = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty());
        xdg.map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))
    };
    match home_state() {
        Some(state) if !nix::unistd::geteuid().is_root() => state.join("truechimer-agent"),
        _ => "/var/lib/truechimer-agent".into(),
    }
}

#[cfg(test)]
mod tests;
