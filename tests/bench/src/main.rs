//! Measures what design.md promises. `scripts/bench` builds and starts it.
//!
//! * [`outside`]: makes one sandbox (namespaces, cgroups, folder) for each stage, and prints the table.
//! * [`stage`]: what runs inside: starts Copepod, loads it, and prints a [`report::Report`] as JSON.
//! * [`server`], [`process`]: Copepod as a process; [`api`]: its clients; [`series`]: statistics.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod api;
mod error;
mod options;
mod outside;
mod pods;
mod process;
mod report;
mod series;
mod server;
mod stage;

use std::process::ExitCode;

use clap::Parser;
use copepod_base::Chain;
use serde_json::json;

use crate::error::Result;
use crate::options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(error::io("start the asynchronous runtime"))?;
    match &options.command {
        Some(Command::Inside(inside)) => {
            let outcome = runtime.block_on(stage::run(inside)).map_err(|error| Chain(&error).to_string());
            println!(
                "{}",
                outcome.as_ref().map_or_else(|error| json!({"Err": error}), |report| json!({"Ok": report}))
            );
            Ok(ExitCode::SUCCESS)
        }
        None => runtime.block_on(outside::run(&options)),
    }
}
