//! Why an archive cannot be imported.

use std::io;
use std::path::PathBuf;

/// A failed import; nothing of the image is left then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder cannot be read.
    #[error("cannot read {path}")]
    Open {
        /// The path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The archive ends early or is no tar, gzip or zstd.
    #[error("damaged image archive: save it again")]
    Damaged(#[source] io::Error),
    /// A file in the archive is not what the format demands.
    #[error("image archive: {what}")]
    Format {
        /// What is wrong, with the file's name.
        what: String,
    },
    /// A manifest in the archive is no valid JSON.
    #[error("image archive: {name} is not valid JSON")]
    Json {
        /// The file or digest.
        name: String,
        /// Cause.
        source: serde_json::Error,
    },
    /// containerd refuses or does not answer.
    #[error(transparent)]
    Call(#[from] crate::Error),
    /// The image is stored, but CRI does not show it.
    #[error("containerd stored {name} but its CRI service does not show it: see containerd's log")]
    Invisible {
        /// The image.
        name: String,
    },
}
