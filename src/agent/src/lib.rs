//! The node agent: registers the node, runs its pods through the container runtime, serves the kubelet API.
#![warn(missing_docs)]

pub mod cni;
pub mod logs;
pub mod network;
pub mod node;
pub mod spec;
pub mod volumes;
#[allow(dead_code)]
mod kubelet_api;
