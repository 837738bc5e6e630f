//! Changes of pods: almost nothing may change.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};

use super::container::ephemeral;
use super::{difference, plain, required, resources, scheduling};
use crate::field::{Errors, Path};
use crate::strategy::Part;
use crate::typed::encode::to_value;

/// Fields that may change, in the words of kube-apiserver.
const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                          `spec.tolerations` (only additions to existing tolerations),\
                          `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A change of a pod or of a part of it.
pub(crate) fn update(new: &Pod, old: &Pod, part: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return errors };
    match part {
        // What a binding may change is checked where it is made.
        Part::Status | Part::Other("binding") => {}
        Part::Other("ephemeralcontainers") => ephemeral(&mut errors, &path, new, old),
        Part::Other("resize") => {
            for (field, containers) in
                [("containers", Some(&new.containers)), ("initContainers", new.init_containers.as_ref())]
            {
                for (index, container) in containers.into_iter().flatten().enumerate() {
                    if let Some(given) = &container.resources {
                        let path = path.child(field).index(index).child("resources");
                        resources::requirements(&mut errors, &path, given);
                    }
                }
            }
        }
        Part::Main | Part::Other(_) => main(&mut errors, &path, new, old),
    }
    errors
}

fn main(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    let count = |list: &Option<Vec<Container>>| list.as_ref().map_or(0, Vec::len);
    let mut counted = true;
    if new.containers.len() != old.containers.len() {
        errors.forbidden(&path.child("containers"), "pod updates may not add or remove containers");
        counted = false;
    }
    if count(&new.init_containers) != count(&old.init_containers) {
        errors.forbidden(&path.child("initContainers"), "pod updates may not add or remove containers");
        counted = false;
    }
    if !counted {
        return;
    }
    images(errors, &path.child("containers"), &new.containers);
    images(errors, &path.child("initContainers"), new.init_containers.as_deref().unwrap_or_default());
    deadline(errors, &path.child("activeDeadlineSeconds"), new, old);
    let (new_tolerations, old_tolerations) =
        (new.tolerations.as_deref().unwrap_or_default(), old.tolerations.as_deref().unwrap_or_default());
    added(errors, &path.child("tolerations"), new_tolerations, old_tolerations);
    gates(errors, path, new, old);
    let munged = munged(new, old);
    let (munged, old) = (to_value(&munged), to_value(old));
    if munged != old {
        let detail = format!(
            "pod updates may not change fields other than {CHANGEABLE}\n  core.PodSpec{{\n{}\n  }}\n",
            difference(&munged, &old)
        );
        errors.forbidden(path, &detail);
    }
}

fn images(errors: &mut Errors, path: &Path, containers: &[Container]) {
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index).child("image");
        let image = plain(container.image.as_ref());
        if required(errors, &path, image).is_some() && image.trim() != image {
            errors.invalid(&path, image, "must not have leading or trailing whitespace");
        }
    }
}

fn deadline(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (None, Some(_)) => {
            errors.invalid(
                path,
                serde_json::Value::Null,
                "must not update from a positive integer to nil value",
            );
        }
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(path, new, "must be between 0 and 2147483647, inclusive");
        }
        (Some(new), Some(old)) if new > old => {
            errors.invalid(path, new, "must be less than or equal to previous value");
        }
        _ => {}
    }
}

/// Tolerations may be added, and only their seconds changed.
fn added(errors: &mut Errors, path: &Path, new: &[Toleration], old: &[Toleration]) {
    for toleration in old {
        let same = |other: &Toleration| {
            (&toleration.key, &toleration.operator, &toleration.value, &toleration.effect)
                == (&other.key, &other.operator, &other.value, &other.effect)
        };
        if !new.iter().any(same) {
            errors.forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
            return;
        }
    }
    scheduling::tolerations(errors, path, new);
}

/// Gates may only go.
fn gates(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    let olds = old.scheduling_gates.as_deref().unwrap_or_default();
    for gate in new.scheduling_gates.iter().flatten() {
        if !olds.iter().any(|old| old.name == gate.name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.forbidden(&path.child("schedulingGates"), &detail);
        }
    }
}

/// The new spec with all that may change taken from the old one.
fn munged(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut munged = new.clone();
    let restore = |containers: &mut [Container], old: &[Container]| {
        for (container, old) in containers.iter_mut().zip(old) {
            container.image.clone_from(&old.image);
        }
    };
    restore(&mut munged.containers, &old.containers);
    if let (Some(containers), Some(old)) = (&mut munged.init_containers, &old.init_containers) {
        restore(containers, old);
    }
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.tolerations.clone_from(&old.tolerations);
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    if new.termination_grace_period_seconds == Some(1)
        && old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0)
    {
        munged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    let gated = old.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated {
        // A pod that waits for its gates may be narrowed down to fewer nodes.
        let kept =
            old.node_selector.iter().flatten().all(|(key, value)| {
                new.node_selector.as_ref().is_some_and(|map| map.get(key) == Some(value))
            });
        if kept {
            munged.node_selector.clone_from(&old.node_selector);
        }
        if old.affinity.is_none() {
            munged.affinity = None;
        }
    }
    munged
}
