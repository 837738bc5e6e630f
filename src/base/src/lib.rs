//! Ground floor of Copepod: what every other crate needs and none should write twice.
//!
//! * [`clock`]: the only place that reads the wall clock or the monotonic clock.
//! * [`task`]: named tasks in a shutdown tree; a panic is logged with the task's name.
//! * [`backoff`]: exponential delays with jitter.
//! * [`error`]: printing an error together with its causes.
//! * [`file`]: files that are either the old or the new content, also after a power cut.
//! * [`metrics`]: one registry for the process.
//! * [`log`]: tracing set-up.
//!
//! This crate knows nothing of Kubernetes.
#![warn(missing_docs)]

pub mod backoff;
pub mod clock;
pub mod error;
pub mod file;
pub mod log;
pub mod metrics;
pub mod task;

pub use error::Chain;
pub use task::{Shutdown, spawn};
