//! Why something could not be measured. Slowness is never an error, except where nothing happens at all.

use std::io;
use std::time::Duration;

/// Result of a part of the benchmark.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failure of the benchmark or of what it measures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, process or connection.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        source: io::Error,
    },
    /// An exchange with the API broke.
    #[error("{what} broke")]
    Http {
        /// Method and path.
        what: String,
        /// Cause.
        source: hyper::Error,
    },
    /// The API refused.
    #[error("{what} answered {status}: {body}")]
    Refused {
        /// Method and path.
        what: String,
        /// The code.
        status: http::StatusCode,
        /// The beginning of the body.
        body: String,
    },
    /// A kubeconfig or certificate that cannot be used.
    #[error("{what} cannot be used: {problem}")]
    Unusable {
        /// What it is.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something did not happen.
    #[error("not within {limit:?}: {what}")]
    Late {
        /// What was awaited.
        what: String,
        /// For how long.
        limit: Duration,
    },
    /// Copepod ended by itself.
    #[error("copepod ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// Exit status.
        status: String,
        /// The last lines.
        log: String,
    },
    /// Something happened that must not.
    #[error("{what}: {problem}")]
    Wrong {
        /// What was looked at.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The container runtime refused.
    #[error("the container runtime failed")]
    Runtime(#[from] copepod_cri::Error),
}

/// For `map_err` of an I/O error.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// For `map_err` of anything that makes an input unusable.
pub(crate) fn unusable<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |error| Error::Unusable { what, problem: error.to_string() }
}

/// A fact that must not be.
pub(crate) fn wrong(what: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::Wrong { what: what.into(), problem: problem.into() }
}
