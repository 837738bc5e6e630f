//! End-to-end tests: the built executable, real containerd, runc, iptables and kubectl, as root.
//!
//! Most tests share one cluster and work in a namespace of their own; those that stop the server, fill the node or
//! change it have a cluster to themselves. Run one topic by `cargo test -p copepod-e2e -- logs`.

mod access;
mod bad_input;
mod controllers;
mod crud;
mod deployments;
mod durability;
mod images;
mod kubectl;
mod lifecycle;
mod logs;
mod network;
mod nodes;
mod pods;
mod shared;
mod start_errors;
mod streams;
mod volumes;
mod watch;
