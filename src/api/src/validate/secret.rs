//! Config maps and secrets.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::Value;

use super::{IMMUTABLE, all_invalid, plain};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;

/// Largest sum of values, in bytes.
const MAX_SIZE: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

/// A new config map.
pub(crate) fn config_map(object: &ConfigMap) -> Errors {
    let mut errors = Errors::new();
    let mut size = 0;
    for (key, value) in object.data.iter().flatten() {
        let path = Path::new("data").key(key);
        all_invalid(&mut errors, &path, key, names::config_key(key));
        if object.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in object.binary_data.iter().flatten() {
        all_invalid(&mut errors, &Path::new("binaryData").key(key), key, names::config_key(key));
        size += value.0.len();
    }
    if size > MAX_SIZE {
        errors.too_long(&Path::default(), MAX_SIZE);
    }
    errors
}

/// A config map that is immutable stays as it is.
pub(crate) fn config_map_update(new: &ConfigMap, old: &ConfigMap, _: Part<'_>) -> Errors {
    let mut errors = config_map(new);
    if old.immutable == Some(true) {
        if new.immutable != Some(true) {
            errors.forbidden(&Path::new("immutable"), FROZEN);
        }
        if new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default() {
            errors.forbidden(&Path::new("data"), FROZEN);
        }
        if new.binary_data.clone().unwrap_or_default() != old.binary_data.clone().unwrap_or_default() {
            errors.forbidden(&Path::new("binaryData"), FROZEN);
        }
    }
    errors
}

/// A new secret.
pub(crate) fn secret(object: &Secret) -> Errors {
    let mut errors = Errors::new();
    let data = Path::new("data");
    let mut size = 0;
    for (key, value) in object.data.iter().flatten() {
        all_invalid(&mut errors, &data.key(key), key, names::config_key(key));
        size += value.0.len();
    }
    if size > MAX_SIZE {
        errors.too_long(&data, MAX_SIZE);
    }
    needs(&mut errors, object);
    errors
}

/// Keys that a type of secret cannot do without.
fn needs(errors: &mut Errors, object: &Secret) {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let data = Path::new("data");
    let get = |key: &str| object.data.as_ref().and_then(|data| data.get(key));
    match plain(object.type_.as_ref()) {
        "kubernetes.io/service-account-token" => {
            let name = object.metadata.annotations.as_ref().and_then(|map| map.get(ACCOUNT));
            if plain(name).is_empty() {
                errors.required(&Path::new("metadata").child("annotations").key(ACCOUNT), "");
            }
        }
        "kubernetes.io/dockercfg" => json(errors, &data.key(".dockercfg"), get(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => {
            json(errors, &data.key(".dockerconfigjson"), get(".dockerconfigjson"));
        }
        "kubernetes.io/basic-auth" if get("username").is_none() && get("password").is_none() => {
            errors.required(&data.key("username"), "");
            errors.required(&data.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.required(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if get(key).is_none() {
                    errors.required(&data.key(key), "");
                }
            }
        }
        _ => {}
    }
}

fn json(errors: &mut Errors, path: &Path, value: Option<&ByteString>) {
    match value {
        None => errors.required(path, ""),
        Some(bytes) => {
            if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes.0) {
                errors.invalid(path, "<secret contents redacted>", &error.to_string());
            }
        }
    }
}

/// The type of a secret stays; an immutable one stays as it is.
pub(crate) fn secret_update(new: &Secret, old: &Secret, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    if new.type_ != old.type_ {
        errors.invalid(&Path::new("type"), plain(new.type_.as_ref()), IMMUTABLE);
    }
    if old.immutable == Some(true) {
        if new.immutable != Some(true) {
            errors.forbidden(&Path::new("immutable"), FROZEN);
        }
        if new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default() {
            errors.forbidden(&Path::new("data"), FROZEN);
        }
    }
    errors.extend(secret(new));
    errors
}
