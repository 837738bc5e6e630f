//! The pods of this node.
//!
//! * [`manager`]: gives every pod a worker, tells workers of changes, ends what nobody wants.
//! * [`worker`]: one task per pod; only it touches the pod's sandbox.
//! * [`plan`], [`status`]: pure functions the worker decides and reports by.
//! * [`hook`]: steps around the sandbox.

pub mod admission;
pub mod backoff;
pub mod hook;
mod hooks;
pub mod image;
pub mod lifecycle;
pub mod manager;
pub mod plan;
pub mod registry;
pub mod shared;
pub mod state;
pub mod status;
pub mod status_manager;
mod termination;
pub mod worker;
