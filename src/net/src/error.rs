//! What the kernel can refuse.

use std::io;
use std::path::{Path, PathBuf};

/// A refused request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Netlink refused; the action names the link.
    #[error("cannot {action}")]
    Kernel {
        /// As "add address 10.42.0.1/24 to cni0".
        action: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// There is no link of this name.
    #[error("there is no network link {name}")]
    NoLink {
        /// The name.
        name: String,
    },
    /// The kernel's answer makes no sense to the decoder.
    #[error("cannot understand the kernel's answer to \"{action}\": {message}")]
    Decode {
        /// What was asked.
        action: String,
        /// The decoder's words.
        message: String,
    },
    /// A file, folder or mount point.
    #[error("cannot {action} {path}")]
    File {
        /// As "write".
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// A kernel file holds something unexpected.
    #[error("{path} holds {content:?}: {expected} was expected")]
    Content {
        /// The path.
        path: PathBuf,
        /// What it holds.
        content: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A thread for another namespace could not be had.
    #[error("cannot run in network namespace {path}")]
    Thread {
        /// The namespace.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.to_owned(), source: source.into() }
    }

    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<nix::errno::Errno> {
        match self {
            Self::Kernel { source, .. } | Self::File { source, .. } | Self::Thread { source, .. } => {
                source.raw_os_error().map(nix::errno::Errno::from_raw)
            }
            _ => None,
        }
    }
}
