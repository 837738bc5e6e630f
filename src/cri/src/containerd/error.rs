//! Why containerd cannot be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Version;

/// A failure to configure, start or stop the private containerd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such program.
    #[error(
        "{binary} is not installed: install the package containerd (Debian, Ubuntu, Alpine) or containerd.io (Docker's repository)"
    )]
    NotInstalled {
        /// What was looked for.
        binary: String,
    },
    /// Older than what CRI v1 needs.
    #[error("{binary} is version {found}, older than 1.6: upgrade the package containerd (or containerd.io)")]
    TooOld {
        /// The program asked.
        binary: String,
        /// What it answered.
        found: Version,
    },
    /// The program answered something else than a version.
    #[error("{binary} --version printed {output:?}: is this containerd?")]
    Version {
        /// The program asked.
        binary: String,
        /// Its first line.
        output: String,
    },
    /// The socket's path does not fit into a socket address.
    #[error("socket path {path} is longer than 107 bytes: choose a shorter runtime directory")]
    SocketPath {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder could not be prepared.
    #[error("cannot prepare {path} for containerd")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {binary}")]
    Spawn {
        /// The program.
        binary: String,
        /// Cause.
        source: io::Error,
    },
    /// The process could not be watched or signalled.
    #[error("cannot control containerd process {pid}")]
    Process {
        /// Its process id.
        pid: i32,
        /// Cause.
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("containerd ended at its start: {last_words} (its log is {log})")]
    Ended {
        /// The end of its log.
        last_words: String,
        /// The log file.
        log: PathBuf,
    },
    /// It runs but does not answer.
    #[error("containerd did not answer on {socket} within {after:?}: see its log {log}")]
    NotReady {
        /// The socket.
        socket: PathBuf,
        /// The time given.
        after: Duration,
        /// The log file.
        log: PathBuf,
    },
}
