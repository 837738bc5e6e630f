//! Files made from ConfigMaps, Secrets and fields of the pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, Pod, SecretVolumeSource,
};

use super::VolumeError;
use crate::spec::env::Sources;
use crate::spec::field::{self, Addresses};
use crate::spec::{NodeFacts, list};

/// Mode of files that say nothing else.
pub(super) const DEFAULT_MODE: i32 = 0o644;

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileData {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    pub(super) user: Option<u32>,
}

/// Relative path to file.
pub(super) type Payload = BTreeMap<String, FileData>;

fn file(content: Vec<u8>, mode: Option<i32>, default: i32) -> FileData {
    FileData { content, mode: mode.unwrap_or(default).unsigned_abs(), user: None }
}

/// The keys that `items` picks (all without items).
pub(super) fn pick(
    kind: &'static str,
    data: &BTreeMap<String, Vec<u8>>,
    items: &[KeyToPath],
    default_mode: i32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    if items.is_empty() {
        return Ok(data.iter().map(|(k, v)| (k.clone(), file(v.clone(), None, default_mode))).collect());
    }
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(content) => {
                payload.insert(item.path.clone(), file(content.clone(), item.mode, default_mode));
            }
            None if optional => {}
            None => return Err(VolumeError::NoKey { kind, key: item.key.clone() }),
        }
    }
    Ok(payload)
}

/// Keys of a ConfigMap; none when it is missing.
pub(super) fn config_map_data(name: &str, sources: &Sources) -> Option<BTreeMap<String, Vec<u8>>> {
    let map = sources.config_maps.get(name)?;
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
    Some(text.chain(binary).collect())
}

/// Keys of a Secret; none when it is missing.
pub(super) fn secret_data(name: &str, sources: &Sources) -> Option<BTreeMap<String, Vec<u8>>> {
    let secret = sources.secrets.get(name)?;
    Some(secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect())
}

pub(super) fn config_map(source: &ConfigMapVolumeSource, sources: &Sources) -> Result<Payload, VolumeError> {
    let optional = source.optional == Some(true);
    match config_map_data(&source.name, sources) {
        Some(data) => {
            pick("config", &data, list(&source.items), source.default_mode.unwrap_or(DEFAULT_MODE), optional)
        }
        None if optional => Ok(Payload::new()),
        None => Err(VolumeError::NotFound { kind: "configmap", name: source.name.clone() }),
    }
}

pub(super) fn secret(source: &SecretVolumeSource, sources: &Sources) -> Result<Payload, VolumeError> {
    let optional = source.optional == Some(true);
    let name = source.secret_name.as_deref().unwrap_or_default();
    match secret_data(name, sources) {
        Some(data) => {
            pick("secret", &data, list(&source.items), source.default_mode.unwrap_or(DEFAULT_MODE), optional)
        }
        None if optional => Ok(Payload::new()),
        None => Err(VolumeError::NotFound { kind: "secret", name: name.to_owned() }),
    }
}

pub(super) fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
    node: &NodeFacts,
) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            // Only metadata can be asked for here, so no address is needed.
            (Some(field), _) => field::field(pod, &field.field_path, &Addresses::default())?,
            (None, Some(resource)) => field::resource_field(pod, None, resource, &node.resources)?,
            (None, None) => String::new(),
        };
        payload.insert(
            item.path.clone(),
            file(text.into_bytes(), item.mode, default_mode.unwrap_or(DEFAULT_MODE)),
        );
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn sources() -> Sources {
        let map = json!({"metadata": {}, "data": {"a": "1"}, "binaryData": {"b": "AAE="}});
        Sources {
            config_maps: [("cm".to_owned(), Arc::new(serde_json::from_value(map).unwrap()))].into(),
            secrets: BTreeMap::new(),
        }
    }

    fn make(source: serde_json::Value) -> Result<Payload, VolumeError> {
        config_map(&serde_json::from_value(source).unwrap(), &sources())
    }

    #[test]
    fn items_pick_keys_paths_and_modes() {
        let all = make(json!({"name": "cm", "defaultMode": 0o600})).unwrap();
        assert_eq!(all["b"], FileData { content: vec![0, 1], mode: 0o600, user: None });
        let some =
            make(json!({"name": "cm", "items": [{"key": "a", "path": "x/y", "mode": 0o400}]})).unwrap();
        assert_eq!(some.len(), 1);
        assert_eq!(some["x/y"].mode, 0o400);
    }

    #[test]
    fn what_is_missing_is_an_error_unless_optional() {
        assert_eq!(make(json!({"name": "no"})).unwrap_err().to_string(), "configmap \"no\" not found");
        assert!(make(json!({"name": "no", "optional": true})).unwrap().is_empty());
        let items = json!([{"key": "z", "path": "z"}]);
        assert_eq!(
            make(json!({"name": "cm", "items": items})).unwrap_err().to_string(),
            "references non-existent config key: z"
        );
        assert!(make(json!({"name": "cm", "items": items, "optional": true})).unwrap().is_empty());
    }
}
