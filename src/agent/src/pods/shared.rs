//! What all pod workers share.

use std::sync::Arc;

use copepod_client::events::{EventType, Recorder, object_ref};
use copepod_client::{Client, Informer};
use copepod_cri::{Images, Runtime};
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use tokio::sync::{Notify, watch};

use super::hook::Pipeline;
use super::registry::Registry;
use super::status_manager::StatusManager;
use crate::spec::{NodeFacts, list, pod_spec};

/// Services of the agent for its pods.
pub struct Shared {
    /// The API.
    pub client: Client,
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// Its images.
    pub images: Arc<dyn Images>,
    /// The node.
    pub facts: NodeFacts,
    /// Events.
    pub recorder: Recorder,
    /// Services, for environment variables.
    pub services: Informer<Service>,
    /// Where statuses go.
    pub statuses: StatusManager,
    /// What the kubelet API sees.
    pub registry: Registry,
    /// Steps that bring a pod up.
    pub pipeline: Pipeline,
    /// Told when the runtime has got another image.
    pub images_changed: Arc<Notify>,
    /// Whether pods can get a network.
    pub network_ready: watch::Receiver<bool>,
}

impl Shared {
    /// A Normal event about the pod.
    pub fn normal(&self, pod: &Pod, reason: &str, message: impl Into<String>) {
        self.recorder.normal(pod, reason, message.into());
    }

    /// A Warning event about the pod.
    pub fn warning(&self, pod: &Pod, reason: &str, message: impl Into<String>) {
        self.recorder.warning(pod, reason, message.into());
    }

    /// An event about a container of the pod.
    pub fn container_event(
        &self,
        pod: &Pod,
        container: &str,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let mut object = object_ref(pod);
        let init = list(&pod_spec(pod).init_containers).iter().any(|c: &Container| c.name == container);
        let field = if init { "initContainers" } else { "containers" };
        object.field_path = Some(format!("spec.{field}{{{container}}}"));
        self.recorder.event(&object, kind, reason, message.into());
    }
}
