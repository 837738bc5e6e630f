//! Names of log folders and files, the same as kubelet's so that log shippers find them.

use std::path::{Path, PathBuf};

/// Folder of a pod: `<root>/<namespace>_<name>_<uid>`.
#[must_use]
pub fn pod_dir(root: &Path, namespace: &str, name: &str, uid: &str) -> PathBuf {
    root.join(format!("{namespace}_{name}_{uid}"))
}

/// Path of an attempt's file below the pod's folder: `<container>/<attempt>.log`.
#[must_use]
pub fn container_file(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}
