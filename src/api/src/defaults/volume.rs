//! Volumes of pods and persistent volumes.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource,
    PersistentVolumeClaimSpec, ProjectedVolumeSource, Volume,
};

use super::{absent, container, each, text};

/// Mode of files in volumes, 0644.
const FILE_MODE: i32 = 0o644;

/// A volume of a pod.
pub(super) fn volume(volume: &mut Volume) {
    if has_no_source(volume) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.secret {
        absent(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        absent(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        absent(&mut source.default_mode, FILE_MODE);
        each(&mut source.items).for_each(file);
    }
    volume.projected.iter_mut().for_each(projected);
    volume.host_path.iter_mut().for_each(host_path);
    volume.azure_disk.iter_mut().for_each(azure_disk);
    if let Some(source) = &mut volume.iscsi {
        text(&mut source.iscsi_interface, "default");
    }
    if let Some(source) = &mut volume.rbd {
        rbd(&mut source.pool, &mut source.user, &mut source.keyring);
    }
    if let Some(source) = &mut volume.scale_io {
        scale_io(&mut source.storage_mode, &mut source.fs_type);
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        self::claim(&mut claim.spec);
    }
    if let Some(image) = &mut volume.image {
        let policy = container::pull_policy(image.reference.as_deref().unwrap_or_default());
        text(&mut image.pull_policy, policy);
    }
}

fn has_no_source(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}

fn projected(source: &mut ProjectedVolumeSource) {
    absent(&mut source.default_mode, FILE_MODE);
    for projection in each(&mut source.sources) {
        if let Some(token) = &mut projection.service_account_token {
            absent(&mut token.expiration_seconds, 3600);
        }
        if let Some(downward) = &mut projection.downward_api {
            each(&mut downward.items).for_each(file);
        }
        if let Some(certificate) = &mut projection.pod_certificate {
            absent(&mut certificate.max_expiration_seconds, 86_400);
        }
    }
}

fn file(file: &mut DownwardAPIVolumeFile) {
    file.field_ref.iter_mut().for_each(container::field);
}

/// A path of the node.
pub(super) fn host_path(source: &mut HostPathVolumeSource) {
    absent(&mut source.type_, String::new());
}

/// An Azure disk.
pub(super) fn azure_disk(source: &mut AzureDiskVolumeSource) {
    absent(&mut source.caching_mode, "ReadWrite".to_owned());
    absent(&mut source.kind, "Shared".to_owned());
    absent(&mut source.fs_type, "ext4".to_owned());
    absent(&mut source.read_only, false);
}

/// A Ceph block device.
pub(super) fn rbd(pool: &mut Option<String>, user: &mut Option<String>, keyring: &mut Option<String>) {
    text(pool, "rbd");
    text(user, "admin");
    text(keyring, "/etc/ceph/keyring");
}

/// A ScaleIO volume.
pub(super) fn scale_io(mode: &mut Option<String>, fs_type: &mut Option<String>) {
    text(mode, "ThinProvisioned");
    text(fs_type, "xfs");
}

/// A claim, also in templates.
pub(super) fn claim(spec: &mut PersistentVolumeClaimSpec) {
    absent(&mut spec.volume_mode, "Filesystem".to_owned());
}
