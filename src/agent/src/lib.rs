//! The node agent: registers the node, runs its pods through the container runtime, serves the kubelet API.
//!
//! * [`agent`]: wiring. [`config`]: what it is told. [`machine`]: what it finds.
//! * [`node`]: the Node object, its heartbeat, and the pod network of the node ([`network`]).
//! * [`pods`]: one worker per pod; [`spec`] translates pods for the runtime, [`volumes`] makes their volumes,
//!   [`probes`] watches their health.
//! * [`kubelet_api`]: logs, exec, attach, port-forward; [`logs`] reads log files.
//! * [`cni`]: the role in which the executable is started by the runtime to connect a pod.
//!
//! It talks to the API and to the runtime, to nothing else. Ending it never ends a container.
#![warn(missing_docs)]

pub mod agent;
pub mod cni;
pub mod config;
mod http;
pub mod kubelet_api;
pub mod logs;
pub mod machine;
mod network;
mod node;
pub mod pods;
pub mod probes;
pub mod spec;
pub mod volumes;

pub use agent::{Agent, Error, RuntimeParts};
pub use config::{AgentConfig, PauseImage, RuntimeConfig};
pub use kubelet_api::KubeletApi;
