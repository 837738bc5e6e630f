//! Variables of containers, and fields of the pod that they can have.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector};

use super::{all_invalid, plain, required};
use crate::field::{Errors, Path};
use crate::names;

/// Variables, one by one and by the map.
pub(super) fn environment(
    errors: &mut Errors,
    path: &Path,
    env: Option<&[EnvVar]>,
    from: Option<&[EnvFromSource]>,
) {
    for (index, variable) in env.unwrap_or_default().iter().enumerate() {
        let path = path.child("env").index(index);
        if required(errors, &path.child("name"), &variable.name).is_some() {
            all_invalid(errors, &path.child("name"), &variable.name, names::env_var(&variable.name));
        }
        if let Some(source) = &variable.value_from {
            value_from(errors, &path.child("valueFrom"), source, plain(variable.value.as_ref()));
        }
    }
    for (index, source) in from.unwrap_or_default().iter().enumerate() {
        let path = path.child("envFrom").index(index);
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            all_invalid(errors, &path.child("prefix"), prefix, names::env_var(prefix));
        }
        let config = source.config_map_ref.as_ref().map(|reference| ("configMapRef", &reference.name));
        let secret = source.secret_ref.as_ref().map(|reference| ("secretRef", &reference.name));
        match (config, secret) {
            (Some(_), Some(_)) => {
                errors.invalid(&path, "", "may not have more than one field specified at a time");
            }
            (None, None) => errors.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some((field, name)), None) | (None, Some((field, name))) => {
                required(errors, &path.child(field).child("name"), name);
            }
        }
    }
}

fn value_from(errors: &mut Errors, path: &Path, source: &EnvVarSource, value: &str) {
    let mut given = 0;
    if let Some(field) = &source.field_ref {
        given += 1;
        field_ref(errors, &path.child("fieldRef"), field, ENV_FIELDS, true);
    }
    if let Some(resource) = &source.resource_field_ref {
        given += 1;
        required(errors, &path.child("resourceFieldRef").child("resource"), &resource.resource);
    }
    if let Some(key) = &source.config_map_key_ref {
        given += 1;
        key_ref(errors, &path.child("configMapKeyRef"), &key.name, &key.key);
    }
    if let Some(key) = &source.secret_key_ref {
        given += 1;
        key_ref(errors, &path.child("secretKeyRef"), &key.name, &key.key);
    }
    if source.file_key_ref.is_some() {
        given += 1;
    }
    if given == 0 {
        errors.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if !value.is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if given > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

fn key_ref(errors: &mut Errors, path: &Path, name: &str, key: &str) {
    required(errors, &path.child("name"), name);
    if required(errors, &path.child("key"), key).is_some() {
        all_invalid(errors, &path.child("key"), key, names::config_key(key));
    }
}

/// Fields of the pod that variables can have.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// A field of the pod.
pub(super) fn field_ref(
    errors: &mut Errors,
    path: &Path,
    field: &ObjectFieldSelector,
    supported: &[&str],
    subscripts: bool,
) {
    let path = path.child("fieldPath");
    let Some(name) = required(errors, &path, &field.field_path) else { return };
    let subscript = name.split_once("['").and_then(|(map, rest)| Some((map, rest.strip_suffix("']")?)));
    match subscript {
        Some((map @ ("metadata.labels" | "metadata.annotations"), key)) if subscripts => {
            let key = if map.ends_with("annotations") { key.to_lowercase() } else { key.to_owned() };
            all_invalid(errors, &path, &key, names::qualified_name(&key));
        }
        Some((map, _)) => {
            errors.invalid(&path, map, "does not support subscript");
        }
        None if supported.contains(&name) => {}
        None => errors.not_supported(&path, name, supported),
    }
}
