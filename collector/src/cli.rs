//! Command line of `truechimer`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use timebase::Span;

use crate::admin;
use crate::app::{App, Role, Roles};
use crate::config::Config;
use crate::config::log::LogFormat;
use crate::database::Database;
use crate::output::say;
use crate::{observe, shutdown};

/// Truechimer collector: takes reports of clocks from agents, judges them, alerts, and shows them.
#[derive(Debug, Parser)]
#[command(name = "truechimer", version, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// Settings that a flag overrides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings (override the configuration file)")]
struct Settings {
    /// Configuration file, TOML; `truechimer check-config` prints every key
    #[arg(long, global = true, env = "TRUECHIMER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the collector keeps its files, with the embedded database
    #[arg(long, global = true, env = "TRUECHIMER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An existing Postgres instead of the embedded one
    #[arg(
        long,
        global = true,
        env = "TRUECHIMER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<String>,
    /// Where agents connect
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    grpc_listen: Option<SocketAddr>,
    /// Where people connect
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    web_listen: Option<SocketAddr>,
    /// Metrics and health
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    observe_listen: Option<SocketAddr>,
    /// Form of the log
    #[arg(long, global = true, value_name = "FORM")]
    log_format: Option<LogFormat>,
    /// What to log: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, global = true, env = "TRUECHIMER_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until Ctrl-C or SIGTERM
    Serve {
        /// What this process does; default: everything
        #[arg(long, value_delimiter = ',', value_name = "ROLE")]
        role: Vec<Role>,
    },
    /// Bring the database schema up to this version
    Migrate,
    /// Check the configuration and print the settings in effect
    CheckConfig,
    /// People who may sign in
    #[command(subcommand)]
    User(UserCommand),
    /// People who may ask with SQL
    #[command(subcommand)]
    SqlUser(SqlUserCommand),
    /// Tokens that let a host join
    #[command(subcommand)]
    Token(TokenCommand),
    /// Hosts that joined
    #[command(subcommand)]
    Host(HostCommand),
    /// The database itself
    #[command(subcommand)]
    Db(DbCommand),
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a person; prints a random password once unless one is given
    Add {
        /// Name to sign in with
        name: String,
        /// File with the password in its first line
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Set another password; prints a random one once unless one is given
    Passwd {
        /// Name to sign in with
        name: String,
        /// File with the password in its first line
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List the people who may sign in
    List,
}

#[derive(Debug, Subcommand)]
enum SqlUserCommand {
    /// Add someone who reads schema fleet and nothing else; prints a random password once
    Add {
        /// Name of the role: a-z, 0-9 and _
        name: String,
        /// May also load lines of logs, to have them ordered
        #[arg(long)]
        analyst: bool,
    },
    /// List who may ask
    List,
    /// End someone's sessions and remove the role
    Remove {
        /// Name of the role
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a join token and print it, once
    Create {
        /// How long it holds, such as "24 h"; default: for ever
        #[arg(long, value_name = "DURATION")]
        expires: Option<Span>,
        /// How many hosts it may enrol; default: any number
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..), value_name = "N")]
        uses: Option<i32>,
        /// A note on what it is for
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List join tokens; the tokens themselves are not kept
    List,
    /// Void a token; hosts that joined with it stay
    Revoke {
        /// Its number from `token list`, or the token itself
        token: String,
    },
}

#[derive(Debug, Subcommand)]
enum HostCommand {
    /// List hosts
    List,
    /// Void a host's credential: it is cut off within seconds, its data stays
    Revoke {
        /// Name or UUID; a name voids every host of that name
        host: String,
    },
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Print the URL for psql
    Url {
        /// For the role that may read schema fleet and nothing else
        #[arg(long)]
        reader: bool,
    },
    /// Write everything into a file, as of one moment, while the collector runs
    Backup {
        /// File that does not exist, or a folder
        #[arg(value_name = "FILE|DIR")]
        target: PathBuf,
    },
    /// Read a backup into an empty data directory or database, whole or not at all
    Restore {
        /// File that `db backup` made
        file: PathBuf,
    },
    /// Bring the embedded cluster to a newer major version of Postgres; the old one is kept aside
    Upgrade {
        /// Folder with the binaries of its present version; default: where they are installed
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// Folder with the binaries of the version to move to; default: the newest installed
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Confirm this machine's clock after a long pause, where no host can
    TrustClock,
    /// VACUUM and ANALYZE every table, beside the collector
    Vacuum,
    /// Sizes, growth, forecast, activity, last backup
    Status {
        /// As JSON, for programs; sizes in bytes
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Whatever stopped it, in words for the person at the terminal.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = arguments.settings.effective()?;
    match arguments.command {
        Command::CheckConfig => {
            config.check()?;
            say!("{}", config.to_toml().trim_end());
            Ok(())
        }
        Command::Serve { role } => {
            observe::init_logging(&config.log)?;
            serve(config, role).await
        }
        Command::Db(DbCommand::Url { reader }) => admin::db::url(&config, reader),
        command => {
            let mut log = config.log.clone();
            // A command's own words suffice, unless more was asked for.
            if arguments.settings.log.is_none() {
                log.filter = "warn".into();
            }
            observe::init_logging(&log)?;
            match command {
                Command::Db(DbCommand::Upgrade { from, to }) => {
                    admin::db::upgrade::run(&config, from.as_deref(), to.as_deref()).await
                }
                Command::Db(DbCommand::Restore { file }) => restore(&config, &file).await,
                command => with_database(&config, command).await,
            }
        }
    }
}

async fn serve(config: Config, role: Vec<Role>) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    config.check()?;
    let roles = if role.is_empty() { Roles::all() } else { Roles::only(&role) };
    let app = App::start(config, roles).await?;
    let failed = tokio::select! {
        () = stop.cancelled() => false,
        () = app.failed() => true,
    };
    app.stop().await;
    if failed { Err(anyhow::anyhow!("a part of it failed; see the log")) } else { Ok(()) }
}

/// Into a database that no collector has opened: it has no schema yet.
async fn restore(config: &Config, file: &Path) -> anyhow::Result<()> {
    let verified = admin::db::restore::verify(file).await?;
    let database = Database::open_as_it_is(config).await?;
    let done =
        admin::db::restore::run(config, &database.store, &database.options, file, verified).await;
    database.close().await;
    done
}

/// Administration works beside a running server, and without one.
async fn with_database(config: &Config, command: Command) -> anyhow::Result<()> {
    if !command.may_begin() {
        crate::database::must_exist(config)?;
    }
    let database = Database::open_for_command(config).await?;
    let store = &database.store;
    let done = match command {
        Command::Migrate => crate::database::migrate(store).await,
        Command::User(UserCommand::Add { name, password_file }) => {
            admin::users::add(store, &name, password_file.as_deref()).await
        }
        Command::User(UserCommand::Passwd { name, password_file }) => {
            admin::users::passwd(store, &name, password_file.as_deref()).await
        }
        Command::User(UserCommand::List) => admin::users::list(store).await,
        Command::SqlUser(SqlUserCommand::Add { name, analyst }) => {
            admin::sql_users::add(store, config, &name, analyst).await
        }
        Command::SqlUser(SqlUserCommand::List) => admin::sql_users::list(store).await,
        Command::SqlUser(SqlUserCommand::Remove { name }) => {
            admin::sql_users::remove(store, &name).await
        }
        Command::Token(TokenCommand::Create { expires, uses, label }) => {
            admin::tokens::create(store, expires, uses, &label).await
        }
        Command::Token(TokenCommand::List) => admin::tokens::list(store).await,
        Command::Token(TokenCommand::Revoke { token }) => {
            admin::tokens::revoke(store, &token).await
        }
        Command::Host(HostCommand::List) => admin::hosts::list(store).await,
        Command::Host(HostCommand::Revoke { host }) => admin::hosts::revoke(store, &host).await,
        Command::Db(DbCommand::Backup { target }) => {
            admin::db::backup::run(config, store, &database.options, &target).await
        }
        Command::Db(DbCommand::TrustClock) => admin::db::trust_clock::run(store).await,
        Command::Db(DbCommand::Vacuum) => admin::db::vacuum::run(store).await,
        Command::Db(DbCommand::Status { json }) => {
            admin::db::status::run(config, store, json).await
        }
        Command::Serve { .. } | Command::CheckConfig | Command::Db(_) => Ok(()),
    };
    database.close().await;
    done
}

impl Command {
    /// Whether it may be the first word to a new database: where the data directory is mistyped, the others would
    /// show an empty one, and leave it there.
    fn may_begin(&self) -> bool {
        matches!(
            self,
            Self::Migrate
                | Self::User(UserCommand::Add { .. })
                | Self::SqlUser(SqlUserCommand::Add { .. })
                | Self::Token(TokenCommand::Create { .. })
        )
    }
}

impl Settings {
    /// Defaults, then the file, then the flags.
    fn effective(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(dir) = &self.data_dir {
            config.data_dir = Some(dir.clone());
        }
        if let Some(url) = &self.database_url {
            config.database.url = Some(url.clone());
            config.database.url_file = None;
        }
        config.grpc.listen = self.grpc_listen.unwrap_or(config.grpc.listen);
        config.web.listen = self.web_listen.unwrap_or(config.web.listen);
        config.observe.listen = self.observe_listen.unwrap_or(config.observe.listen);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        if let Some(filter) = &self.log {
            config.log.filter = filter.clone();
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Proves that the command line is free of contradictions (clap's own check).
    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// Proves that what makes something may begin a database, and what looks or takes away may not.
    #[test]
    fn only_makers_begin() {
        for (words, begins) in [
            ("token create", true),
            ("user add ada", true),
            ("sql-user add ada", true),
            ("migrate", true),
            ("token list", false),
            ("host list", false),
            ("user passwd ada", false),
            ("db status", false),
            ("db backup file", false),
        ] {
            let words = std::iter::once("truechimer").chain(words.split(' '));
            assert_eq!(Arguments::try_parse_from(words).unwrap().command.may_begin(), begins);
        }
    }

    /// Proves that a flag wins over the file's value.
    #[test]
    fn flags_override() {
        let words = ["truechimer", "serve", "--web-listen", "127.0.0.1:9", "--role", "web,notify"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(arguments.settings.effective().unwrap().web.listen.port(), 9);
    }
}
