//! Kubernetes' protobuf form of objects, as JSON trees: one decoder and one encoder for all kinds, driven by a table.
//!
//! The table `protobuf/schema.txt` is made from the Go types by `scripts/protobuf-schema`. A body is the four bytes
//! `k8s\0` and a `runtime.Unknown` (apimachinery, `pkg/runtime/generated.proto`): the object's apiVersion and kind, and
//! its own message. Reading gives the tree that Go's JSON would have; what it leaves out because it is zero is left out
//! here too. Writing gives the bytes that Go would write.

mod decode;
mod encode;
mod special;
mod table;
mod wire;

#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;

/// The first bytes of every body.
pub const MAGIC: &[u8] = b"k8s\0";
/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Why a body cannot be read, or an object not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not start with the magic bytes.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// There is nothing at all.
    #[error("empty data")]
    Empty,
    /// There is nothing behind the magic bytes.
    #[error("empty body")]
    EmptyBody,
    /// It ends in the middle of a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A number has more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field's number is out of range, or its wire type unknown.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// A field has another type than its kind says.
    #[error("proto: wrong type for field {0}")]
    Type(String),
    /// A text is not UTF-8.
    #[error("proto: invalid UTF-8 in field {0}")]
    Text(String),
    /// A time that no calendar has.
    #[error("proto: a time is out of range")]
    Time,
    /// Messages are nested too deeply.
    #[error("exceeded max depth")]
    Depth,
    /// There is no such kind in the table.
    #[error(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \
         \"pkg/api/legacyscheme/scheme.go:30\""
    )]
    Kind {
        /// Group and version of the body.
        api_version: String,
        /// Kind of the body.
        kind: String,
    },
    /// JSON inside of the message is none.
    #[error("invalid JSON in field {0}")]
    Json(String),
    /// The object of a body whose kind is known cannot be read.
    #[error("{why}")]
    Object {
        /// Group and version of the body.
        api_version: String,
        /// Kind of the body.
        kind: String,
        /// What is wrong with it.
        why: Box<Error>,
    },
}

impl Error {
    /// The apiVersion and kind of the body, when reading came that far.
    #[must_use]
    pub fn of_kind(&self) -> Option<(&str, &str)> {
        match self {
            Self::Kind { api_version, kind } | Self::Object { api_version, kind, .. } => {
                Some((api_version, kind))
            }
            _ => None,
        }
    }
}
