//! What a call to the runtime can come back with.

use std::time::Duration;

use tonic::{Code, Status};

/// A failed call; callers decide by variant, never by text.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The container, sandbox or image does not exist. Deleting code treats this as success.
    #[error("{call}: not found: {message}")]
    NotFound {
        /// CRI method.
        call: &'static str,
        /// The runtime's own words.
        message: String,
    },
    /// The name is taken (a sandbox or container of this name and attempt, an image, a lease).
    #[error("{call}: already exists: {message}")]
    AlreadyExists {
        /// CRI method.
        call: &'static str,
        /// The runtime's own words.
        message: String,
    },
    /// The runtime does not answer; retry when it is back.
    #[error("{call}: the container runtime does not answer: {message}")]
    Unavailable {
        /// CRI method.
        call: &'static str,
        /// What the transport said.
        message: String,
    },
    /// The call took longer than its deadline; it may or may not have happened.
    #[error("{call}: no answer from the container runtime within {after:?}")]
    DeadlineExceeded {
        /// CRI method.
        call: &'static str,
        /// The deadline that passed.
        after: Duration,
    },
    /// The runtime has no such method.
    #[error("{call}: the container runtime does not implement this call")]
    Unimplemented {
        /// CRI method.
        call: &'static str,
    },
    /// Anything else the runtime refuses.
    #[error("{call}: {message} (code {code:?})")]
    Other {
        /// CRI method.
        call: &'static str,
        /// gRPC code.
        code: Code,
        /// The runtime's own words.
        message: String,
    },
    /// The endpoint is not `unix:///path` or an absolute path.
    #[error("container runtime endpoint {endpoint:?}: use unix:///absolute/path/to.sock")]
    Endpoint {
        /// As configured.
        endpoint: String,
    },
}

impl Error {
    /// Translates a gRPC status of `call`, whose deadline was `deadline`.
    #[must_use]
    pub fn from_status(call: &'static str, deadline: Option<Duration>, status: &Status) -> Self {
        let message = status.message().to_owned();
        match (status.code(), deadline) {
            (Code::NotFound, _) => Self::NotFound { call, message },
            (Code::AlreadyExists, _) => Self::AlreadyExists { call, message },
            (Code::Unavailable, _) => Self::Unavailable { call, message },
            (Code::DeadlineExceeded, Some(after)) => Self::DeadlineExceeded { call, after },
            (Code::Unimplemented, _) => Self::Unimplemented { call },
            // A broken connection reaches us as Unknown or Cancelled with the transport's error as its source.
            (Code::Unknown | Code::Cancelled, _) if std::error::Error::source(status).is_some() => {
                Self::Unavailable { call, message }
            }
            (code, _) => Self::Other { call, code, message },
        }
    }

    /// Whether the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::DeadlineExceeded { .. })
    }

    /// The runtime's own words where it said something.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::NotFound { message, .. }
            | Self::AlreadyExists { message, .. }
            | Self::Unavailable { message, .. }
            | Self::Other { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}
