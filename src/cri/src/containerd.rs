//! Our own containerd: its configuration, its process, its life beyond ours.
//!
//! containerd and its shims are in a process group of their own and no pipe leads to us, so they live on when Copepod
//! is stopped or killed; the next start adopts what still answers.

mod config;
mod error;
mod log;
mod process;
mod supervisor;
mod version;

pub use config::{Config, DEFAULT_OOM_SCORE};
pub use error::Error;
pub use supervisor::Supervisor;
pub use version::Version;
