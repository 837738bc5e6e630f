//! ServiceAccount: every pod runs as an account of its namespace, and finds that account's token in its containers.

use async_trait::async_trait;
use copepod_api::names;
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection,
    Volume, VolumeMount, VolumeProjection,
};

use super::{Admission, Request, typed_mut};
use crate::storage;

/// Where containers look for the token.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Marks the pods that agents make from files.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
/// Life of a token in a pod, in seconds; the seven tell tokens that were not asked for.
const TOKEN_SECONDS: i64 = 3607;

pub(super) struct ServiceAccounts;

#[async_trait]
impl Admission for ServiceAccounts {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.creates() && request.is("", "Pod")
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut dyn Object) -> Result<(), ApiError> {
        let Some(pod) = typed_mut::<Pod>(object) else { return Ok(()) };
        if pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(MIRROR)) {
            return mirror(request, pod);
        }
        let spec = pod.spec.get_or_insert_default();
        let name = spec
            .service_account_name
            .clone()
            .or_else(|| spec.service_account.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        spec.service_account_name = Some(name.clone());
        spec.service_account = Some(name.clone());
        let account = account(request, &name).await?;
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets = account.image_pull_secrets.clone().filter(|list| !list.is_empty());
        }
        let automount =
            spec.automount_service_account_token.or(account.automount_service_account_token).unwrap_or(true);
        if automount {
            mount_token(spec);
        }
        Ok(())
    }
}

/// A mirror pod shows what an agent runs anyway; it gets nothing from the API.
fn mirror(request: &Request<'_>, pod: &Pod) -> Result<(), ApiError> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    let refers = |volume: &Volume| {
        volume.secret.is_some()
            || volume
                .projected
                .iter()
                .flat_map(|p| p.sources.iter().flatten())
                .any(|source| source.service_account_token.is_some())
    };
    if spec.volumes.iter().flatten().any(refers) {
        return Err(request.forbidden("a mirror pod may not reference secrets"));
    }
    Ok(())
}

async fn account(request: &Request<'_>, name: &str) -> Result<ServiceAccount, ApiError> {
    let namespace = request.namespace.unwrap_or_default();
    let key = format!("/registry/core/serviceaccounts/{namespace}/{name}");
    let (record, _) = request.state().store.get(&key).await.map_err(|e| storage::failure(&e))?;
    let record = record.ok_or_else(|| {
        request.forbidden(&format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        ))
    })?;
    serde_json::from_slice(&record.value).map_err(ApiError::internal)
}

fn mount_token(spec: &mut PodSpec) {
    let existing = spec
        .volumes
        .iter()
        .flatten()
        .find(|volume| volume.name.starts_with(VOLUME_PREFIX) && volume.projected.is_some())
        .map(|volume| volume.name.clone());
    let random = uuid::Uuid::new_v4().as_u64_pair().0;
    let name =
        existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", names::safe_encode(random, 5)));
    let mut used = false;
    for container in spec.init_containers.iter_mut().flatten().chain(spec.containers.iter_mut()) {
        used |= mount(container, &name);
    }
    if used && existing.is_none() {
        spec.volumes.get_or_insert_default().push(Volume {
            name,
            projected: Some(access_volume()),
            ..Volume::default()
        });
    }
}

/// Mounts the volume unless the container has something else there.
fn mount(container: &mut Container, volume: &str) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path == MOUNT) {
        return false;
    }
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        read_only: Some(true),
        mount_path: MOUNT.to_owned(),
        ..VolumeMount::default()
    });
    true
}

/// Token, certificate authority and namespace.
fn access_volume() -> ProjectedVolumeSource {
    ProjectedVolumeSource {
        default_mode: Some(0o644),
        sources: Some(vec![
            VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    path: "token".to_owned(),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    ..ServiceAccountTokenProjection::default()
                }),
                ..VolumeProjection::default()
            },
            VolumeProjection {
                config_map: Some(ConfigMapProjection {
                    name: "kube-root-ca.crt".to_owned(),
                    items: Some(vec![KeyToPath {
                        key: "ca.crt".to_owned(),
                        path: "ca.crt".to_owned(),
                        mode: None,
                    }]),
                    optional: None,
                }),
                ..VolumeProjection::default()
            },
            VolumeProjection {
                downward_api: Some(DownwardAPIProjection {
                    items: Some(vec![DownwardAPIVolumeFile {
                        path: "namespace".to_owned(),
                        field_ref: Some(ObjectFieldSelector {
                            api_version: Some("v1".to_owned()),
                            field_path: "metadata.namespace".to_owned(),
                        }),
                        ..DownwardAPIVolumeFile::default()
                    }]),
                }),
                ..VolumeProjection::default()
            },
        ]),
    }
}
