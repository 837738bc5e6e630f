//! New pods, and the parts of pods that have a subresource.

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus};

use super::qos;
use crate::strategy::Part;

/// A new pod is pending; gates hold it back from the scheduler.
pub(crate) fn create(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_owned()),
        qos_class: Some(qos::class(spec).to_owned()),
        conditions: gated.then(|| {
            vec![PodCondition {
                type_: "PodScheduled".to_owned(),
                status: "False".to_owned(),
                reason: Some("SchedulingGated".to_owned()),
                message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
                ..PodCondition::default()
            }]
        }),
        ..PodStatus::default()
    });
}

/// Keeps what a part may not change.
pub(crate) fn update(new: &mut Pod, old: &Pod, part: Part<'_>) {
    match part {
        // A binding is made by the server from the stored pod: nothing in it comes from outside.
        Part::Main | Part::Other("binding") => {}
        Part::Status => {
            new.metadata.owner_references.clone_from(&old.metadata.owner_references);
            let class = old.status.as_ref().and_then(|status| status.qos_class.clone());
            let status = new.status.get_or_insert_default();
            if status.qos_class.as_deref().unwrap_or_default().is_empty() {
                status.qos_class = class;
            }
        }
        Part::Other(name) => {
            let mut kept = old.clone();
            kept.metadata.resource_version.clone_from(&new.metadata.resource_version);
            if let (Some(kept), Some(new)) = (&mut kept.spec, &mut new.spec) {
                match name {
                    "ephemeralcontainers" => kept.ephemeral_containers = new.ephemeral_containers.take(),
                    "resize" => {
                        kept.resources = new.resources.take();
                        resize(&mut kept.containers, &new.containers);
                        if let (Some(kept), Some(new)) = (&mut kept.init_containers, &new.init_containers) {
                            resize(kept, new);
                        }
                    }
                    _ => {}
                }
            }
            *new = kept;
        }
    }
}

/// Takes resources of containers of the same names.
fn resize(kept: &mut [Container], new: &[Container]) {
    for container in kept {
        if let Some(wanted) = new.iter().find(|other| other.name == container.name) {
            container.resources.clone_from(&wanted.resources);
            container.resize_policy.clone_from(&wanted.resize_policy);
        }
    }
}
