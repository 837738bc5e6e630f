//! Copepod: Kubernetes in one executable.
//!
//! This crate only wires: it reads flags, environment and file into one checked [`config::Config`], starts the
//! parts, and stops them in order. Started by a container runtime with `CNI_COMMAND` set, the same executable is
//! the pod network's CNI plugin.

mod agent;
mod cli;
mod config;
mod dialer;
mod file;
mod role;
mod server;
mod version;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, Command, ServerArgs};
use config::Config;
use copepod_base::log::{self, Format};

/// Exit code for flags or a file that make no sense, as of clap's own.
const BAD_CONFIGURATION: u8 = 2;
/// Exit code for everything else that stops the program.
const FAILED: u8 = 1;

/// Threads for tasks: more would cost memory on a large machine, and tasks here wait more than they compute.
const MOST_WORKERS: usize = 4;
/// Threads for file work.
const MOST_BLOCKING: usize = 32;

fn main() -> ExitCode {
    if copepod_agent::cni::is_called() {
        return copepod_agent::cni::main();
    }
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
            start_log(&args)?;
            notes.iter().for_each(|note| tracing::warn!("{note}"));
            let config = Config::new(args).map_err(Failure::configuration)?;
            serve(config)
        }
        Err(never) => never,
    }
}

fn start_log(args: &ServerArgs) -> Result<(), Failure> {
    let usual = if args.general.debug { "debug,hyper=info,h2=info,tower=info,rustls=info" } else { "info" };
    let format = if args.general.log_format == "json" { Format::Json } else { Format::Text };
    log::init(args.general.log.as_deref().unwrap_or(usual), format).map_err(Failure::configuration)
}

fn serve(config: Config) -> Result<(), Failure> {
    let failed = |error: Box<dyn std::error::Error>| Failure { error, code: FAILED };
    let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, MOST_WORKERS))
        .max_blocking_threads(MOST_BLOCKING)
        // A thread that waits for work holds memory; a burst is over in seconds.
        .thread_keep_alive(Duration::from_secs(5))
        .thread_name("copepod")
        .enable_all()
        .build()
        .map_err(|error| failed(Box::new(error)))?;
    let result = runtime.block_on(server::run(config)).map_err(|error| failed(Box::new(error)));
    // Blocking work that is left, such as an image import, must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
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
