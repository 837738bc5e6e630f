//! The version that this executable tells.

/// Kubernetes version and Copepod's own, as `gitVersion` and the node's `kubeletVersion` show them.
pub(crate) const LONG: &str = concat!("v1.36.0+copepod", env!("CARGO_PKG_VERSION"));
