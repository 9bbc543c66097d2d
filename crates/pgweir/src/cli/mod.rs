//! The command line.
//!
//! [`parse`] turns arguments and environment into one [`Command`]. `check` and `config` run here, in
//! [`check`] and [`print_config`]; the others need the rest of pgweir and are run by the program.

pub mod check;
pub mod print_config;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::import::Import;
use crate::telemetry::log::LogFormat;

/// What pgweir is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run {
        /// The configuration.
        config: PathBuf,
        /// What a line of the log looks like.
        log_format: LogFormat,
    },
    /// Start a cluster of its own with pgweir in front.
    Demo {
        /// A Citus cluster instead of a primary and its replicas.
        citus: bool,
        /// Where the cluster lives; `None` is a temporary directory.
        dir: Option<PathBuf>,
        /// The port that clients connect to.
        port: u16,
        /// What a line of the log looks like.
        log_format: LogFormat,
    },
    /// Validate a configuration.
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// Say how statements would be routed, without a server.
    Route {
        /// The configuration; `None` is the default one.
        config: Option<PathBuf>,
        /// Answer in JSON.
        json: bool,
        /// The statements.
        sql: String,
    },
    /// Make a configuration of PgBouncer's.
    Import(Import),
    /// Print the reference configuration.
    Config {
        /// Print its JSON Schema instead.
        schema: bool,
    },
}

/// A PostgreSQL pooler that sends writes to the primary and reads to the replicas.
#[derive(Parser)]
#[command(name = "pgweir", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    subcommand: Option<Words>,
    /// The configuration to serve with
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: Log,
}

#[derive(Subcommand)]
enum Words {
    /// Serve (also the default when only --config is given)
    Run {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        log: Log,
    },
    /// Start a primary and two replicas of its own, with pgweir in front
    Demo {
        /// A Citus coordinator and two workers instead, where the extension is installed
        #[arg(long)]
        citus: bool,
        /// Where the cluster lives [default: a temporary directory]
        #[arg(long)]
        dir: Option<PathBuf>,
        /// The port that clients connect to
        #[arg(long, default_value_t = 6432, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        #[command(flatten)]
        log: Log,
    },
    /// Validate a configuration: every problem with its place
    Check(File),
    /// Say how each statement would be routed, and why, without a server
    Route {
        /// The configuration [default: the reference configuration]
        #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
        config: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        /// One or several statements
        sql: String,
    },
    /// Make a configuration of PgBouncer's: what has no counterpart is named on stderr
    Import {
        /// PgBouncer's configuration
        #[arg(value_name = "PGBOUNCER.INI")]
        ini: PathBuf,
        /// PgBouncer's users [default: the auth_file of its configuration]
        #[arg(long, value_name = "USERLIST.TXT")]
        userlist: Option<PathBuf>,
        /// The file to write, with users.toml beside it [default: stdout]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the reference configuration: every key, its default and why
    Config {
        /// Print its JSON Schema instead
        #[arg(long)]
        schema: bool,
    },
}

#[derive(Args)]
struct File {
    /// The configuration
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    config: PathBuf,
}

#[derive(Args)]
struct Log {
    /// What a line of the log looks like
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

/// Names the configuration where `--config` does not.
const CONFIG_VARIABLE: &str = "PGWEIR_CONFIG";

/// Reads arguments, the program's name first.
///
/// # Errors
///
/// What to print, and where, for arguments that make no command, and for `--help` and `--version`;
/// [`clap::Error::exit`] does both.
pub fn parse<I, T>(arguments: I) -> Result<Command, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let Arguments { subcommand, config, log } = Arguments::try_parse_from(arguments)?;
    match (subcommand, config) {
        (Some(words), _) => Ok(words.into()),
        (None, Some(config)) => Ok(Command::Run { config, log_format: log.log_format }),
        (None, None) => {
            let message = format!("give a command, or --config FILE, or set {CONFIG_VARIABLE}");
            Err(Arguments::command().error(ErrorKind::MissingRequiredArgument, message))
        }
    }
}

impl From<Words> for Command {
    fn from(words: Words) -> Self {
        match words {
            Words::Run { file: File { config }, log: Log { log_format } } => {
                Self::Run { config, log_format }
            }
            Words::Demo { citus, dir, port, log: Log { log_format } } => {
                Self::Demo { citus, dir, port, log_format }
            }
            Words::Check(File { config }) => Self::Check { config },
            Words::Route { config, json, sql } => Self::Route { config, json, sql },
            Words::Import { ini, userlist, output } => {
                Self::Import(Import { ini, userlist, output })
            }
            Words::Config { schema } => Self::Config { schema },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments separated by blanks.
    fn parsed(arguments: &str) -> Result<Command, ErrorKind> {
        parse(std::iter::once("pgweir").chain(arguments.split(' ').filter(|word| !word.is_empty())))
            .map_err(|error| error.kind())
    }

    fn run(log_format: LogFormat) -> Command {
        Command::Run { config: "a.toml".into(), log_format }
    }

    fn demo(citus: bool, dir: Option<&str>, port: u16) -> Command {
        let dir = dir.map(PathBuf::from);
        Command::Demo { citus, dir, port, log_format: LogFormat::Text }
    }

    fn route(config: Option<&str>, json: bool) -> Command {
        Command::Route { config: config.map(PathBuf::from), json, sql: "select".into() }
    }

    fn import(userlist: Option<&str>, output: Option<&str>) -> Command {
        let [userlist, output] = [userlist, output].map(|file| file.map(PathBuf::from));
        Command::Import(Import { ini: "a.ini".into(), userlist, output })
    }

    #[test]
    fn command_lines() {
        assert!(std::env::var_os(CONFIG_VARIABLE).is_none(), "test without {CONFIG_VARIABLE}");
        let rows = [
            ("run --config a.toml", Ok(run(LogFormat::Text))),
            ("--config a.toml", Ok(run(LogFormat::Text))),
            ("--config=a.toml --log-format json", Ok(run(LogFormat::Json))),
            ("run --config a.toml --log-format json", Ok(run(LogFormat::Json))),
            ("demo", Ok(demo(false, None, 6432))),
            ("demo --citus", Ok(demo(true, None, 6432))),
            ("demo --dir /tmp/x --port 7000", Ok(demo(false, Some("/tmp/x"), 7000))),
            ("check --config a.toml", Ok(Command::Check { config: "a.toml".into() })),
            ("route select", Ok(route(None, false))),
            ("route --json --config a.toml select", Ok(route(Some("a.toml"), true))),
            ("import a.ini", Ok(import(None, None))),
            ("import a.ini --userlist u --output o", Ok(import(Some("u"), Some("o")))),
            ("import", Err(ErrorKind::MissingRequiredArgument)),
            ("config", Ok(Command::Config { schema: false })),
            ("config --schema", Ok(Command::Config { schema: true })),
            ("--version", Err(ErrorKind::DisplayVersion)),
            ("--help", Err(ErrorKind::DisplayHelp)),
            ("", Err(ErrorKind::MissingRequiredArgument)),
            ("run", Err(ErrorKind::MissingRequiredArgument)),
            ("check", Err(ErrorKind::MissingRequiredArgument)),
            ("route", Err(ErrorKind::MissingRequiredArgument)),
            ("demo --port 0", Err(ErrorKind::ValueValidation)),
            ("demo --config a.toml", Err(ErrorKind::UnknownArgument)),
            ("--config a.toml check", Err(ErrorKind::ArgumentConflict)),
            ("--log-format xml --config a.toml", Err(ErrorKind::InvalidValue)),
            ("serve", Err(ErrorKind::InvalidSubcommand)),
        ];
        for (arguments, expected) in rows {
            assert_eq!(parsed(arguments), expected, "pgweir {arguments}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }
}
