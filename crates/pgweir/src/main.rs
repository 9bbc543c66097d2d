//! The `pgweir` program: the command line's verbs, each in its own module.

use std::io::{self, Write as _};
use std::process::ExitCode;

use pgweir::cli::{self, Command};
use pgweir::{demo, import, offline, run};

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    match execute(command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pgweir: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut out = io::stdout();
    match command {
        Command::Run { config, log_format } => Ok(run::run(&config, log_format)?),
        Command::Demo { citus, dir, port, log_format } => {
            Ok(demo::run(citus, dir, port, log_format)?)
        }
        Command::Check { config } => Ok(cli::check::run(&config, &mut out, &mut io::stderr())?),
        Command::Route { config, json, sql } => {
            Ok(offline::run(config.as_deref(), json, &sql, &mut out)?)
        }
        Command::Import(files) => Ok(import::run(&files, &mut out, &mut io::stderr())?),
        Command::Config { schema } => {
            cli::print_config::run(schema, &mut out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
