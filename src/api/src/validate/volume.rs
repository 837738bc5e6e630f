//! Volumes of pods.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, PodSpec, Volume, VolumeProjection};
use serde_json::Value;

use super::container::relative;
use super::environment::field_ref;
use super::{all_invalid, optional_one_of, plain, required, resources};
use crate::field::{Errors, Path};
use crate::names;

/// All volumes of a pod; gives their names.
pub(super) fn volumes<'a>(errors: &mut Errors, path: &Path, spec: &'a PodSpec) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = path.child("volumes").index(index);
        if required(errors, &path.child("name"), &volume.name).is_some() {
            all_invalid(errors, &path.child("name"), &volume.name, names::dns_label(&volume.name));
            if !seen.insert(volume.name.as_str()) {
                errors.duplicate(&path.child("name"), volume.name.as_str());
            }
        }
        source(errors, &path, volume);
    }
    seen
}

fn source(errors: &mut Errors, path: &Path, volume: &Volume) {
    let tree = crate::typed::encode::to_value(volume);
    let sources: Vec<&String> =
        tree.as_object().into_iter().flat_map(|map| map.keys()).filter(|key| *key != "name").collect();
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for extra in sources.iter().skip(1) {
        errors.forbidden(&path.child(extra), "may not specify more than 1 volume type");
    }
    if let Some(first) = sources.first() {
        required_fields(errors, &path.child(first), first, &tree[first.as_str()]);
    }
    files(errors, path, volume);
}

/// Fields that a source cannot do without.
fn required_fields(errors: &mut Errors, path: &Path, kind: &str, source: &Value) {
    let fields: &[&str] = match kind {
        "hostPath" => &["path"],
        "secret" => &["secretName"],
        "configMap" => &["name"],
        "persistentVolumeClaim" => &["claimName"],
        "nfs" => &["server", "path"],
        "csi" => &["driver"],
        "iscsi" => &["targetPortal", "iqn"],
        "gitRepo" => &["repository"],
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "vsphereVolume" => &["volumePath"],
        "rbd" => &["image"],
        _ => &[],
    };
    for field in fields {
        required(errors, &path.child(field), source.get(field).and_then(Value::as_str).unwrap_or_default());
    }
}

fn files(errors: &mut Errors, path: &Path, volume: &Volume) {
    if let Some(source) = &volume.host_path {
        let path = path.child("hostPath");
        if source.path.split('/').any(|part| part == "..") {
            errors.invalid(&path.child("path"), source.path.as_str(), "must not contain '..'");
        }
        optional_one_of(
            errors,
            &path.child("type"),
            source.type_.as_deref(),
            &[
                "BlockDevice",
                "CharDevice",
                "Directory",
                "DirectoryOrCreate",
                "File",
                "FileOrCreate",
                "Socket",
            ],
        );
    }
    if let Some(nfs) = volume.nfs.as_ref().filter(|nfs| !nfs.path.is_empty() && !nfs.path.starts_with('/')) {
        errors.invalid(&path.child("nfs").child("path"), nfs.path.as_str(), "must be an absolute path");
    }
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|dir| dir.size_limit.as_ref())
        && resources::parse(limit).is_some_and(|limit| limit.is_negative())
    {
        errors.forbidden(
            &path.child("emptyDir").child("sizeLimit"),
            "SizeLimit field must be a valid resource quantity",
        );
    }
    if let Some(secret) = &volume.secret {
        mode(errors, &path.child("secret").child("defaultMode"), secret.default_mode);
        items(errors, &path.child("secret"), secret.items.as_deref());
    }
    if let Some(map) = &volume.config_map {
        mode(errors, &path.child("configMap").child("defaultMode"), map.default_mode);
        items(errors, &path.child("configMap"), map.items.as_deref());
    }
    if let Some(downward) = &volume.downward_api {
        mode(errors, &path.child("downwardAPI").child("defaultMode"), downward.default_mode);
        downward_files(errors, &path.child("downwardAPI"), downward.items.as_deref());
    }
    if let Some(projected) = &volume.projected {
        let path = path.child("projected");
        mode(errors, &path.child("defaultMode"), projected.default_mode);
        for (index, source) in projected.sources.iter().flatten().enumerate() {
            projection(errors, &path.child("sources").index(index), source);
        }
    }
}

fn projection(errors: &mut Errors, path: &Path, source: &VolumeProjection) {
    let given = [
        source.secret.is_some(),
        source.config_map.is_some(),
        source.downward_api.is_some(),
        source.service_account_token.is_some(),
        source.cluster_trust_bundle.is_some(),
        source.pod_certificate.is_some(),
    ];
    match given.iter().filter(|given| **given).count() {
        0 => errors.required(path, "must specify a volume type"),
        1 => {}
        _ => errors.forbidden(path, "may not specify more than 1 volume type"),
    }
    if let Some(secret) = &source.secret {
        required(errors, &path.child("secret").child("name"), &secret.name);
        items(errors, &path.child("secret"), secret.items.as_deref());
    }
    if let Some(map) = &source.config_map {
        required(errors, &path.child("configMap").child("name"), &map.name);
        items(errors, &path.child("configMap"), map.items.as_deref());
    }
    if let Some(downward) = &source.downward_api {
        downward_files(errors, &path.child("downwardAPI"), downward.items.as_deref());
    }
    if let Some(token) = &source.service_account_token {
        let path = path.child("serviceAccountToken");
        let seconds = token.expiration_seconds.unwrap_or_default();
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            errors.invalid(&path.child("expirationSeconds"), seconds, detail);
        } else if seconds > 1 << 32 {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.invalid(&path.child("expirationSeconds"), seconds, detail);
        }
        if required(errors, &path.child("path"), &token.path).is_some() {
            relative(errors, &path.child("path"), &token.path);
        }
    }
}

fn mode(errors: &mut Errors, path: &Path, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn items(errors: &mut Errors, path: &Path, items: Option<&[KeyToPath]>) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = path.child("items").index(index);
        required(errors, &path.child("key"), &item.key);
        if required(errors, &path.child("path"), &item.path).is_some() {
            relative(errors, &path.child("path"), &item.path);
        }
        mode(errors, &path.child("mode"), item.mode);
    }
}

/// Fields of the pod that files can have.
const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward_files(errors: &mut Errors, path: &Path, items: Option<&[DownwardAPIVolumeFile]>) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = path.child("items").index(index);
        if required(errors, &path.child("path"), &item.path).is_some() {
            relative(errors, &path.child("path"), &item.path);
        }
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), None) => field_ref(errors, &path.child("fieldRef"), field, FILE_FIELDS, true),
            (None, Some(resource)) => {
                let path = path.child("resourceFieldRef");
                required(errors, &path.child("containerName"), plain(resource.container_name.as_ref()));
                required(errors, &path.child("resource"), &resource.resource);
            }
            (Some(_), Some(_)) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(&path, "resource", detail);
            }
            (None, None) => errors.required(&path, "one of fieldRef and resourceFieldRef is required"),
        }
        mode(errors, &path.child("mode"), item.mode);
    }
}
