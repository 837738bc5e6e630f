//! The same pod, made in two ways.
//!
//! * [`through_api`]: created and deleted as users do, observed by a watch.
//! * [`bare`]: the CRI calls that a kubelet makes for it, and nothing else.

pub(crate) mod bare;
pub(crate) mod through_api;

use copepod_test_support::images;
use serde_json::{Value, json};

/// What its one container runs; present on the node, so never pulled.
pub(crate) const IMAGE: &str = images::BUSYBOX;
/// Its command: nothing that takes time.
pub(crate) const COMMAND: [&str; 2] = ["sleep", "3600"];
/// Where it is.
pub(crate) const NAMESPACE: &str = "bench";

/// A pod as users write it.
pub(crate) fn object(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{
            "name": "main",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": COMMAND,
        }]},
    })
}
