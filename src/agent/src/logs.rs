//! Container log files: where they lie, their line format, reading and following them.
//!
//! The runtime writes one file per container attempt, `<pod folder>/<container>/<attempt>.log`, in the CRI line
//! format (KEP-2411). Rotation renames the file and makes the runtime open a new one of the same name.

pub mod line;
pub mod paths;
pub mod read;
mod watch;

pub use read::{LogOptions, stream};
