//! The node agent: registers the node, runs its pods through the container runtime, serves the kubelet API.
#![warn(missing_docs)]

mod http;
#[allow(dead_code)]
mod kubelet_api;
pub mod logs;
pub mod pods;
pub mod probes;
pub mod spec;
pub mod volumes;
