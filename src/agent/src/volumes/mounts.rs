//! Which volumes and files a container sees, and where.

use std::path::{Component, Path, PathBuf};

use copepod_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{Paths, VolumeError};
use crate::spec::expand::expand;
use crate::spec::{NodeFacts, hosts, list, uid};

/// Path of the host's own hosts file.
const HOST_HOSTS: &str = "/etc/hosts";
/// Where the container finds the managed one.
const HOSTS: &str = "/etc/hosts";

/// Mounts of a container: its volumes, the managed hosts file, the termination message file. Makes the two files and
/// missing sub paths. Blocks.
///
/// # Errors
/// When a volume does not exist, a sub path leaves its volume, or a file cannot be made.
pub fn container_mounts(
    pod: &Pod,
    container: &Container,
    node: &NodeFacts,
    volumes: &Paths,
    made: &Made<'_>,
) -> Result<Vec<v1::Mount>, VolumeError> {
    let mut mounts = Vec::new();
    for mount in list(&container.volume_mounts) {
        mounts.push(volume_mount(container, mount, volumes, made.env)?);
    }
    let own_hosts = list(&container.volume_mounts).iter().any(|m| m.mount_path == HOSTS);
    if !own_hosts && !made.pod_ips.is_empty() {
        let path = node.pod_dir(uid(pod)).join("etc-hosts");
        let host_file = std::fs::read_to_string(HOST_HOSTS).unwrap_or_default();
        let text = hosts::hosts_file(pod, made.pod_ips, &node.dns.domain, &host_file);
        write_hosts(&path, &text)?;
        mounts.push(v1::Mount {
            container_path: HOSTS.to_owned(),
            host_path: path.to_string_lossy().into_owned(),
            readonly: container.security_context.as_ref().and_then(|c| c.read_only_root_filesystem)
                == Some(true),
            ..Default::default()
        });
    }
    if let Some(path) = container.termination_message_path.as_deref().filter(|p| !p.is_empty()) {
        let file = termination_file(node, uid(pod), &container.name, made.attempt);
        make_termination_file(&file)?;
        mounts.push(v1::Mount {
            container_path: path.to_owned(),
            host_path: file.to_string_lossy().into_owned(),
            ..Default::default()
        });
    }
    Ok(mounts)
}

/// What mounts depend on beside the pod's spec.
pub struct Made<'a> {
    /// The container's environment, for `subPathExpr`.
    pub env: &'a [(String, String)],
    /// Addresses of the pod.
    pub pod_ips: &'a [String],
    /// The container's attempt.
    pub attempt: u32,
}

/// Where an attempt's termination message lies on the host.
#[must_use]
pub fn termination_file(node: &NodeFacts, pod_uid: &str, container: &str, attempt: u32) -> PathBuf {
    node.pod_dir(pod_uid).join("containers").join(container).join(attempt.to_string())
}

fn volume_mount(
    container: &Container,
    mount: &VolumeMount,
    volumes: &Paths,
    env: &[(String, String)],
) -> Result<v1::Mount, VolumeError> {
    let volume = volumes
        .get(&mount.name)
        .ok_or_else(|| VolumeError::NoVolume(mount.name.clone(), container.name.clone()))?;
    let sub_path = match (mount.sub_path_expr.as_deref(), mount.sub_path.as_deref()) {
        (Some(text), _) if !text.is_empty() => {
            Some(expand(text, |name| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())))
        }
        (_, Some(text)) if !text.is_empty() => Some(text.to_owned()),
        _ => None,
    };
    let host_path = match sub_path {
        Some(sub) => inside(volume, &sub)?,
        None => volume.clone(),
    };
    let path = &mount.mount_path;
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
        _ => v1::MountPropagation::PropagationPrivate,
    };
    Ok(v1::Mount {
        container_path: if path.starts_with('/') { path.clone() } else { format!("/{path}") },
        host_path: host_path.to_string_lossy().into_owned(),
        readonly: mount.read_only.unwrap_or(false),
        recursive_read_only: mount.recursive_read_only.as_deref() == Some("Enabled"),
        propagation: propagation.into(),
        ..Default::default()
    })
}

/// A path below a volume, made as a folder when it is missing. Links that lead out of the volume are refused.
fn inside(volume: &Path, sub: &str) -> Result<PathBuf, VolumeError> {
    let refused = || VolumeError::SubPath(sub.to_owned());
    let root = volume.canonicalize().map_err(|e| VolumeError::file(volume, e))?;
    let mut at = root.clone();
    for part in Path::new(sub).components() {
        match part {
            Component::Normal(name) => at.push(name),
            Component::CurDir => continue,
            _ => return Err(refused()),
        }
        match at.canonicalize() {
            Ok(real) if real.starts_with(&root) => at = real,
            Ok(_) => return Err(refused()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A dangling link would be followed by the creation.
                if at.symlink_metadata().is_ok() {
                    return Err(refused());
                }
                std::fs::create_dir(&at).map_err(|e| VolumeError::file(&at, e))?;
            }
            Err(error) => return Err(VolumeError::file(&at, error)),
        }
    }
    Ok(at)
}

/// Written in place: the file is mounted into containers, which would not see a new one.
fn write_hosts(path: &Path, text: &str) -> Result<(), VolumeError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |e| VolumeError::file(path, e);
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        super::create_dir(folder)?;
    }
    std::fs::write(path, text).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

/// An empty file that any user of the container may write.
fn make_termination_file(path: &Path) -> Result<(), VolumeError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |e| VolumeError::file(path, e);
    if let Some(folder) = path.parent() {
        super::create_dir(folder)?;
    }
    std::fs::write(path, "").map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_is_made_and_may_not_leave_its_volume() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("v");
        std::fs::create_dir(&volume).unwrap();
        assert!(inside(&volume, "a/b").unwrap().ends_with("v/a/b"));
        assert!(volume.join("a/b").is_dir());
        assert!(inside(&volume, "../x").is_err());
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        assert!(inside(&volume, "out/passwd").is_err());
        std::os::unix::fs::symlink("../nothing", volume.join("dangling")).unwrap();
        assert!(inside(&volume, "dangling").is_err());
        std::os::unix::fs::symlink("a", volume.join("in")).unwrap();
        assert!(inside(&volume, "in/b").unwrap().ends_with("v/a/b"));
    }
}
