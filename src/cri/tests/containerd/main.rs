//! The real containerd and runc, started by our own supervisor. Needs root.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod import;
mod lifecycle;
mod supervise;
mod support;
