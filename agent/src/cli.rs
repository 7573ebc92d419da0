//! The command line. Flags override the configuration file.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use timebase::Span;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::privilege;
use crate::run::{self, Output};
use crate::sources::ServerName;
use crate::{control, status, view};

/// Knows the interval that is certain to contain true time on this host, and reports it. It only
/// observes, unless it is told to discipline the clock.
#[derive(Debug, Parser)]
#[command(name = "truechimer-agent", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent in the foreground.
    ///
    /// Without a collector it needs no configuration file: `truechimer-agent run --server
    /// ntp.example.net --json` prints this host's window once a second.
    Run(RunArgs),
    /// Show what the running agent knows: the window, and every source with its verdict.
    Status(StatusArgs),
    /// Let the running agent ask its sources (again), or one of them.
    Online(OrderArgs),
    /// Let the running agent stop asking its sources, or one of them.
    Offline(OrderArgs),
    /// Check the configuration and print the effective file.
    CheckConfig(Settings),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    settings: Settings,
    /// Steer the system clock, as the `[discipline]` table of the configuration says. Needs CAP_SYS_TIME.
    #[arg(long)]
    discipline: bool,
    /// Print one JSON object a second; times in seconds, positive is ahead of UTC.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    settings: Settings,
    /// Print the snapshot as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OrderArgs {
    /// Its name, host or address; not given: all of them.
    source: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be given on the command line instead of in the file.
#[derive(Debug, Args)]
struct Settings {
    /// Configuration file (TOML); only what differs from the defaults.
    #[arg(long, value_name = "FILE", env = "TRUECHIMER_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// Servers to ask, HOST or HOST:PORT; repeated or separated by commas.
    #[arg(long = "server", value_name = "HOST[:PORT]", value_delimiter = ',')]
    servers: Vec<ServerName>,
    /// Poll interval as a power of two in seconds: 6 is 64 s.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    poll: Option<i8>,
    /// How many sources may be wrong at once: at most, and not given, a minority of them.
    #[arg(long, value_name = "N")]
    faults: Option<u16>,
    /// The collector to report to, such as https://collector.example.net:4461.
    #[arg(long, value_name = "URL")]
    collector: Option<String>,
    /// Speak to the collector without TLS even over the network.
    #[arg(long)]
    allow_plain: bool,
    /// Certificate authorities (PEM) of the collector.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with the token that lets this host enrol.
    #[arg(long, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// Where identity, credential and unsent reports are kept.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The group of hosts that depend on one another's time.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The host's name in the fleet.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How often a report is made, such as "10 s".
    #[arg(long, value_name = "DURATION")]
    report_interval: Option<Span>,
    /// Where metrics and health are served, or "off".
    #[arg(long, value_name = "ADDR|off")]
    observe: Option<String>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Log level or filter.
    #[arg(long, value_name = "FILTER", env = "TRUECHIMER_LOG")]
    log: Option<String>,
}

impl Settings {
    fn load(&self) -> Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if !self.servers.is_empty() {
            config.ntp.servers.clone_from(&self.servers);
        }
        if let Some(poll) = self.poll {
            (config.ntp.min_poll, config.ntp.max_poll) = (poll, poll);
        }
        override_with(&mut config.ntp.faults, &self.faults);
        config.allow_plain |= self.allow_plain;
        override_some(&mut config.collector, &self.collector);
        override_some(&mut config.ca_file, &self.ca_file);
        override_some(&mut config.join_token_file, &self.join_token_file);
        override_some(&mut config.state_dir, &self.state_dir);
        override_some(&mut config.name, &self.name);
        override_with(&mut config.service, &self.service);
        override_with(&mut config.report_interval, &self.report_interval);
        override_with(&mut config.log.format, &self.log_format);
        override_with(&mut config.log.filter, &self.log);
        match self.observe.as_deref() {
            None => {}
            Some("off") => config.observe.listen = None,
            Some(address) => {
                let parsed = address.parse();
                config.observe.listen = Some(parsed.context("--observe: not ADDRESS:PORT")?);
            }
        }
        config.validate()?;
        Ok(config)
    }

    /// A look from the command line, beside whatever agent serves this host.
    fn is_bare(&self, config: &Config) -> bool {
        config.collector.is_none() && self.config.is_none() && self.state_dir.is_none()
    }
}

fn override_some<T: Clone>(value: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        value.clone_from(given);
    }
}

fn override_with<T: Clone>(value: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        value.clone_from(given);
    }
}

/// Does what the command line says.
pub fn main(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Run(args) => {
            let mut config = args.settings.load()?;
            config.discipline.enabled |= args.discipline;
            start_logging(&config)?;
            privilege::shed(&config);
            let bare = args.json && args.settings.is_bare(&config);
            if bare {
                // Two of these may run at once, beside the host's own agent: nothing is shared.
                config.status.socket = "off".to_owned();
                config.status.control = "off".to_owned();
                if args.settings.observe.is_none() {
                    config.observe.listen = None;
                }
            }
            run::run(&config, if args.json { Output::Json } else { Output::None })
        }
        Command::Status(args) => {
            let config = args.settings.load()?;
            let socket = config.socket().context("status.socket is off: there is nobody to ask")?;
            let text = status::ask(&socket)?;
            if args.json {
                print!("{text}");
                return Ok(());
            }
            let view: view::View =
                serde_json::from_str(&text).context("the running agent is of another version")?;
            print!("{}", status::render(&view));
            Ok(())
        }
        Command::Online(args) => order(true, &args),
        Command::Offline(args) => order(false, &args),
        Command::CheckConfig(settings) => {
            let config = settings.load()?;
            run::check(&config)?;
            print!("{}", config.to_toml());
            Ok(())
        }
    }
}

fn order(online: bool, args: &OrderArgs) -> Result<()> {
    let config = args.settings.load()?;
    let socket = config.control_socket().context("status.control is off: nobody hears orders")?;
    println!("{}", control::order(&socket, online, args.source.as_deref())?);
    Ok(())
}

fn start_logging(config: &Config) -> Result<()> {
    let filter = EnvFilter::try_new(&config.log.filter)
        .with_context(|| format!("log.filter: \"{}\"", config.log.filter))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).init();
        }
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Proves that the command line is well formed.
    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Proves that flags win over the defaults, and that commas separate servers.
    #[test]
    fn flags_override_the_file() {
        let cli = Cli::parse_from([
            "truechimer-agent",
            "check-config",
            "--server",
            "a,b:1",
            "--server",
            "c",
            "--poll",
            "3",
            "--observe",
            "off",
            "--report-interval",
            "2 s",
        ]);
        let Command::CheckConfig(settings) = cli.command else { panic!("not check-config") };
        let config = settings.load().unwrap();
        assert_eq!(config.ntp.servers.len(), 3);
        assert_eq!((config.ntp.min_poll, config.ntp.max_poll), (3, 3));
        assert_eq!(config.observe.listen, None);
        assert_eq!(config.report_interval, Span::from_secs(2));
    }
}
