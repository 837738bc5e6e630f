//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures Copepod and prints a table beside the promises of design.md. Needs root.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", max_term_width = 110, args_override_self = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Only these measurements
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) only: Vec<Measurement>,
    /// Fewer repetitions and shorter times: to see that all works, not for figures to compare
    #[arg(long)]
    pub(crate) quick: bool,
    /// The executable to measure
    #[arg(long, default_value = "target/release/copepod", value_name = "FILE")]
    pub(crate) executable: PathBuf,
    /// Where to write all figures as JSON
    #[arg(long, default_value = "target/bench/latest.json", value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One stage, inside a sandbox
    #[command(hide = true)]
    Inside(Inside),
}

/// What a stage must know.
#[derive(Debug, Args)]
pub(crate) struct Inside {
    pub(crate) stage: Stage,
    #[arg(long)]
    pub(crate) executable: PathBuf,
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long)]
    pub(crate) quick: bool,
}

impl Inside {
    /// How much is done.
    pub(crate) fn effort(&self) -> Effort {
        if self.quick { QUICK } else { FULL }
    }
}

/// What the user chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measurement {
    /// Size of the executable
    Size,
    /// Start until the node is Ready
    Start,
    /// Memory, CPU and writes of a node without pods
    Idle,
    /// Pods through the API and through bare CRI calls
    Pods,
    /// ConfigMap creates
    Writes,
    /// A list of many pods
    List,
    /// One write seen by many watchers
    Watch,
}

impl Measurement {
    /// The stages that it consists of, each in a sandbox of its own, and how often each is run.
    pub(crate) fn stages(self, effort: &Effort) -> Vec<(Stage, usize)> {
        match self {
            Self::Size => Vec::new(),
            // The first of the first starts reads the executables from the disk: a warm-up.
            Self::Start => vec![(Stage::FirstStart, effort.starts + 1), (Stage::SecondStart, 1)],
            Self::Idle => vec![(Stage::Idle, 1)],
            Self::Pods => vec![(Stage::Pods, 1)],
            Self::Writes => vec![(Stage::Writes, 1)],
            Self::List => vec![(Stage::List, 1)],
            Self::Watch => vec![(Stage::Watch, 1)],
        }
    }
}

/// What runs in one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    FirstStart,
    SecondStart,
    Idle,
    Pods,
    Writes,
    List,
    Watch,
}

/// How often and how long; every loop of the benchmark is bounded by one of these.
#[derive(Debug)]
pub(crate) struct Effort {
    pub(crate) starts: usize,
    pub(crate) settle: Duration,
    pub(crate) idle: Duration,
    pub(crate) pods: usize,
    pub(crate) pod_rounds: usize,
    pub(crate) write_time: Duration,
    pub(crate) write_limit: usize,
    pub(crate) listed_pods: usize,
    pub(crate) lists: usize,
    pub(crate) watchers: usize,
    pub(crate) watched_writes: usize,
}

/// The figures to compare.
pub(crate) const FULL: Effort = Effort {
    starts: 5,
    settle: Duration::from_secs(30),
    idle: Duration::from_secs(60),
    pods: 20,
    pod_rounds: 3,
    write_time: Duration::from_secs(5),
    write_limit: 20_000,
    listed_pods: 5_000,
    lists: 20,
    watchers: 500,
    watched_writes: 20,
};

/// A look whether all works.
pub(crate) const QUICK: Effort = Effort {
    starts: 2,
    settle: Duration::from_secs(5),
    idle: Duration::from_secs(10),
    pods: 5,
    pod_rounds: 1,
    write_time: Duration::from_secs(1),
    write_limit: 5_000,
    listed_pods: 500,
    lists: 5,
    watchers: 500,
    watched_writes: 5,
};
