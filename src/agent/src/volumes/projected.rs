//! Projected volumes: several sources in one folder.

use k8s_openapi::api::core::v1::{Pod, ProjectedVolumeSource};

use super::VolumeError;
use super::fetch::Fetched;
use super::payload::{self, DEFAULT_MODE, FileData, Payload};
use crate::spec::{NodeFacts, all_containers, list, pod_spec};

pub(super) fn payload(
    pod: &Pod,
    volume: &str,
    source: &ProjectedVolumeSource,
    node: &NodeFacts,
    fetched: &Fetched,
) -> Result<Payload, VolumeError> {
    let default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    let mut payload = Payload::new();
    for projection in list(&source.sources) {
        if let Some(map) = &projection.config_map {
            let optional = map.optional == Some(true);
            match payload::config_map_data(&map.name, &fetched.sources) {
                Some(data) => {
                    payload.extend(payload::pick("config", &data, list(&map.items), default_mode, optional)?);
                }
                None if optional => {}
                None => return Err(VolumeError::NotFound { kind: "configmap", name: map.name.clone() }),
            }
        }
        if let Some(secret) = &projection.secret {
            let optional = secret.optional == Some(true);
            match payload::secret_data(&secret.name, &fetched.sources) {
                Some(data) => {
                    payload.extend(payload::pick(
                        "secret",
                        &data,
                        list(&secret.items),
                        default_mode,
                        optional,
                    )?);
                }
                None if optional => {}
                None => return Err(VolumeError::NotFound { kind: "secret", name: secret.name.clone() }),
            }
        }
        if let Some(downward) = &projection.downward_api {
            payload.extend(payload::downward(pod, list(&downward.items), Some(default_mode), node)?);
        }
        if let Some(token) = &projection.service_account_token {
            let content = match fetched.tokens.get(&(volume.to_owned(), token.path.clone())) {
                Some(Ok(token)) => token.clone().into_bytes(),
                Some(Err(message)) => return Err(VolumeError::Token { message: message.clone() }),
                None => return Err(VolumeError::Token { message: "it was not asked for".to_owned() }),
            };
            let user = single_user(pod);
            // A token is for one user or one group where the pod names one.
            let narrow = user.is_some() || super::fs_group(pod).is_some();
            let mode = if narrow { 0o600 } else { default_mode.unsigned_abs() };
            payload.insert(token.path.clone(), FileData { content, mode, user });
        }
        if projection.cluster_trust_bundle.is_some() || projection.pod_certificate.is_some() {
            return Err(VolumeError::Unsupported);
        }
    }
    Ok(payload)
}

/// The user that all containers run as, when it is one and named.
fn single_user(pod: &Pod) -> Option<u32> {
    let spec = pod_spec(pod);
    let pod_user = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    let mut users = all_containers(spec)
        .map(|(c, _)| c.security_context.as_ref().and_then(|s| s.run_as_user).or(pod_user));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first).and_then(|user| u32::try_from(user).ok())
}
