//! Configuration of a container.

use copepod_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{NodeFacts, expand::expand, labels, list, resources, security};
use crate::logs::paths::container_file;

/// What a container's configuration is made of, beside pod and spec.
pub struct Parts {
    /// The attempt, counted from 0.
    pub attempt: u32,
    /// Restarts so far.
    pub restart_count: u32,
    /// Reference of the image in the runtime.
    pub image_ref: String,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Mounts, in order.
    pub mounts: Vec<v1::Mount>,
    /// Devices of block volumes.
    pub devices: Vec<v1::Device>,
}

/// What the runtime gets for a container.
#[must_use]
pub fn config(pod: &Pod, container: &Container, node: &NodeFacts, parts: Parts) -> v1::ContainerConfig {
    let lookup = |name: &str| parts.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let words = |words: &Option<Vec<String>>| list(words).iter().map(|w| expand(w, lookup)).collect();
    let (command, args) = (words(&container.command), words(&container.args));
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: parts.attempt }),
        image: Some(v1::ImageSpec {
            image: parts.image_ref,
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        labels: labels::container_labels(pod, &container.name),
        annotations: labels::container_annotations(pod, container, parts.restart_count),
        log_path: container_file(&container.name, parts.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::container_resources(pod, container, &node.resources)),
            security_context: Some(security::container_context(pod, container, &node.seccomp_dir)),
        }),
        envs: parts.env.into_iter().map(|(key, value)| v1::KeyValue { key, value }).collect(),
        mounts: parts.mounts,
        devices: parts.devices,
        ..Default::default()
    }
}
