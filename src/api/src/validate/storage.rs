//! Claims, volumes, classes and drivers.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec};
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass, VolumeAttachment};
use serde_json::Value;

use super::{IMMUTABLE, difference, one_of, plain, required, resources};
use crate::field::{Errors, Path};
use crate::strategy::Part;
use crate::typed::encode::to_value;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn modes(errors: &mut Errors, path: &Path, modes: Option<&Vec<String>>) {
    let modes = modes.map(Vec::as_slice).unwrap_or_default();
    if modes.is_empty() {
        errors.required(path, "at least 1 access mode is required");
    }
    for (index, mode) in modes.iter().enumerate() {
        one_of(errors, &path.index(index), mode, &MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// A new claim.
pub(crate) fn claim(object: &PersistentVolumeClaim) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else {
        errors.required(&path, "");
        return errors;
    };
    modes(&mut errors, &path.child("accessModes"), spec.access_modes.as_ref());
    let path_of_size = path.child("resources").key("storage");
    let storage = spec.resources.as_ref().and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage"));
    match storage {
        None => errors.required(&path_of_size, ""),
        Some(amount) => {
            if resources::parse(amount).is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
                errors.invalid(&path_of_size, amount.0.as_str(), "must be greater than zero");
            }
        }
    }
    one_of(
        &mut errors,
        &path.child("volumeMode"),
        plain(spec.volume_mode.as_ref()),
        &["Block", "Filesystem"],
    );
    if let Some(selector) = &spec.selector {
        super::selector(&mut errors, &path.child("selector"), selector);
    }
    errors
}

/// A claim keeps what it asks for; it may grow once it is bound, and be given a volume.
pub(crate) fn claim_update(
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    part: Part<'_>,
) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = claim(new);
    let path = Path::new("spec");
    let bound = old.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let capacity = old.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return errors };
    let mut kept = new.clone();
    if plain(old.volume_name.as_ref()).is_empty() {
        kept.volume_name.clone_from(&old.volume_name);
    }
    if old.storage_class_name.is_none() {
        kept.storage_class_name = None;
    }
    if bound {
        kept.resources.clone_from(&old.resources);
        kept.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    }
    let (kept, before) = (to_value(&kept), to_value(old));
    if kept != before {
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims\n  core.PersistentVolumeClaimSpec{{\n{}\n  }}\n",
            difference(&kept, &before)
        );
        errors.forbidden(&path, &detail);
    }
    let size = |spec: &k8s_openapi::api::core::v1::PersistentVolumeClaimSpec| {
        spec.resources.as_ref()?.requests.as_ref()?.get("storage").and_then(resources::parse)
    };
    let (wanted, before) = (size(new), size(old));
    if wanted < before && wanted <= capacity.and_then(resources::parse) {
        errors.forbidden(
            &path.child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        );
    }
    errors
}

/// Fields of a volume's spec that say where it is.
fn source(spec: &PersistentVolumeSpec) -> serde_json::Map<String, Value> {
    const OTHERS: [&str; 10] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
        "status",
    ];
    let Value::Object(mut tree) = to_value(spec) else { return serde_json::Map::new() };
    tree.retain(|key, _| !OTHERS.contains(&key.as_str()));
    tree
}

/// A new volume.
pub(crate) fn volume(object: &PersistentVolume) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = PersistentVolumeSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    modes(&mut errors, &path.child("accessModes"), spec.access_modes.as_ref());
    let capacity = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    match capacity {
        None => errors.required(&path.child("capacity"), ""),
        Some(amount) => {
            if resources::parse(amount).is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
                let path = path.child("capacity").key("storage");
                errors.invalid(&path, amount.0.as_str(), "must be greater than zero");
            }
        }
    }
    one_of(
        &mut errors,
        &path.child("persistentVolumeReclaimPolicy"),
        plain(spec.persistent_volume_reclaim_policy.as_ref()),
        &["Delete", "Recycle", "Retain"],
    );
    let sources = source(spec);
    if sources.is_empty() {
        errors.required(&path, "must specify a volume type");
    }
    for extra in sources.keys().skip(1) {
        errors.forbidden(&path.child(extra), "may not specify more than 1 volume type");
    }
    if let Some(host) = &spec.host_path {
        required(&mut errors, &path.child("hostPath").child("path"), &host.path);
    }
    if let Some(local) = &spec.local {
        required(&mut errors, &path.child("local").child("path"), &local.path);
        if spec.node_affinity.is_none() {
            errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if let Some(required) = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref()) {
        super::scheduling::node_selector(
            &mut errors,
            &path.child("nodeAffinity").child("required"),
            required,
        );
    }
    errors
}

/// A volume stays where it is.
pub(crate) fn volume_update(new: &PersistentVolume, old: &PersistentVolume, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = volume(new);
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return errors };
    let path = Path::new("spec");
    let (now, before) = (Value::Object(source(new)), Value::Object(source(old)));
    if now != before {
        let detail = format!(
            "spec.persistentvolumesource is immutable after creation\n  core.PersistentVolumeSource{{\n{}\n  }}\n",
            difference(&now, &before)
        );
        errors.forbidden(&path.child("persistentvolumesource"), &detail);
    }
    super::immutable(&mut errors, &path.child("volumeMode"), &new.volume_mode, &old.volume_mode);
    errors
}

/// A new class.
pub(crate) fn class(object: &StorageClass) -> Errors {
    let mut errors = Errors::new();
    required(&mut errors, &Path::new("provisioner"), &object.provisioner);
    one_of(
        &mut errors,
        &Path::new("reclaimPolicy"),
        plain(object.reclaim_policy.as_ref()),
        &["Delete", "Retain"],
    );
    one_of(
        &mut errors,
        &Path::new("volumeBindingMode"),
        plain(object.volume_binding_mode.as_ref()),
        &["Immediate", "WaitForFirstConsumer"],
    );
    errors
}

/// A class keeps all but its metadata and whether volumes may grow.
pub(crate) fn class_update(new: &StorageClass, old: &StorageClass, _: Part<'_>) -> Errors {
    let mut errors = class(new);
    if new.parameters.clone().unwrap_or_default() != old.parameters.clone().unwrap_or_default() {
        errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
    }
    if new.provisioner != old.provisioner {
        errors.forbidden(&Path::new("provisioner"), "updates to provisioner are forbidden.");
    }
    if new.reclaim_policy != old.reclaim_policy {
        errors.forbidden(&Path::new("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
    }
    super::immutable(
        &mut errors,
        &Path::new("volumeBindingMode"),
        &new.volume_binding_mode,
        &old.volume_binding_mode,
    );
    errors
}

/// A new attachment.
pub(crate) fn attachment(object: &VolumeAttachment) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    required(&mut errors, &path.child("attacher"), &object.spec.attacher);
    required(&mut errors, &path.child("nodeName"), &object.spec.node_name);
    let source = &object.spec.source;
    if source.inline_volume_spec.is_none() && plain(source.persistent_volume_name.as_ref()).is_empty() {
        errors.required(
            &path.child("source"),
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        );
    }
    errors
}

/// An attachment is of one volume to one node.
pub(crate) fn attachment_update(new: &VolumeAttachment, old: &VolumeAttachment, part: Part<'_>) -> Errors {
    let mut errors = attachment(new);
    if part == Part::Main && new.spec != old.spec {
        errors.invalid(&Path::new("spec"), to_value(&new.spec), IMMUTABLE);
    }
    errors
}

/// A driver keeps how it attaches.
pub(crate) fn driver_update(new: &CSIDriver, old: &CSIDriver, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let (new, old) = (&new.spec, &old.spec);
    super::immutable(&mut errors, &path.child("attachRequired"), &new.attach_required, &old.attach_required);
    super::immutable(&mut errors, &path.child("fsGroupPolicy"), &new.fs_group_policy, &old.fs_group_policy);
    super::immutable(
        &mut errors,
        &path.child("volumeLifecycleModes"),
        &new.volume_lifecycle_modes,
        &old.volume_lifecycle_modes,
    );
    errors
}
