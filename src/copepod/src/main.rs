//! Copepod: Kubernetes in one executable.
//!
//! This crate only wires: it reads flags, environment and file into one checked [`config::Config`], starts the
//! parts, and stops them in order. Started by a container runtime with `CNI_COMMAND` set, the same executable is
//! the pod network's CNI plugin.

mod cli;
mod config;
mod file;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, Command, ServerArgs};

/// Exit code for flags or a file that make no sense, as of clap's own.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            #[allow(
                clippy::print_stderr,
                reason = "the log may not be set up, and a person waits for this line"
            )]
            {
                eprintln!("copepod: {}", copepod_base::Chain(failure.error.as_ref()));
            }
            ExitCode::from(failure.code)
        }
    }
}

/// An error and the exit code it gives.
struct Failure {
    error: Box<dyn std::error::Error>,
    code: u8,
}

impl Failure {
    fn configuration(error: impl std::error::Error + 'static) -> Self {
        Self { error: Box::new(error), code: BAD_CONFIGURATION }
    }
}

fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let matches = Cli::command().get_matches_from(words.clone());
    match Cli::from_arg_matches(&matches).map_err(|error| error.exit()) {
        Ok(Cli { command: Command::Server(args) }) => {
            let (args, notes) = with_files(*args, &matches, &words)?;
            let _ = (args, notes);
            Ok(())
        }
        Err(never) => never,
    }
}

/// The flags again, with what the configuration files add.
fn with_files(
    args: ServerArgs,
    matches: &clap::ArgMatches,
    words: &[OsString],
) -> Result<(ServerArgs, Vec<String>), Failure> {
    let command = Cli::command();
    let Some(((_, sub), server)) = matches.subcommand().zip(command.find_subcommand("server")) else {
        return Ok((args, Vec::new()));
    };
    let explicit = !matches!(sub.value_source("config"), Some(ValueSource::DefaultValue));
    let (more, notes) =
        file::arguments(server, sub, &args.general.config, explicit).map_err(Failure::configuration)?;
    let matches = command.clone().get_matches_from(words.iter().cloned().chain(more));
    let Command::Server(args) = Cli::from_arg_matches(&matches).map_err(Failure::configuration)?.command;
    Ok((*args, notes))
}
