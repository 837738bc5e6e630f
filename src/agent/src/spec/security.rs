//! Security contexts.

use std::path::Path;

use copepod_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile, SecurityContext};

use super::{host_network, list, name, namespace, pod_spec};

/// Paths hidden from unprivileged containers (procMount `Default`).
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths an unprivileged container may only read.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The container may not be started as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `runAsNonRoot` with user id 0.
    #[error("container's runAsUser breaks non-root policy (pod: \"{0}\", container: {1})")]
    RunsAsRoot(String, String),
    /// `runAsNonRoot` and an image for root.
    #[error("container has runAsNonRoot and image will run as root (pod: \"{0}\", container: {1})")]
    ImageIsRoot(String, String),
    /// `runAsNonRoot` and an image whose user is a name.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({2}), cannot verify user is non-root (pod: \"{0}\", container: {1})"
    )]
    ImageUserIsName(String, String, String),
}

fn value<T: Into<i64>>(number: Option<T>) -> Option<v1::Int64Value> {
    number.map(|n| v1::Int64Value { value: n.into() })
}

/// Namespaces shared with the pod or the node.
#[must_use]
pub fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = pod_spec(pod);
    let node = |yes: Option<bool>| {
        if yes == Some(true) { v1::NamespaceMode::Node } else { v1::NamespaceMode::Pod }
    };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => v1::NamespaceMode::Node,
        (_, Some(true)) => v1::NamespaceMode::Pod,
        _ => v1::NamespaceMode::Container,
    };
    v1::NamespaceOption {
        network: node(Some(host_network(pod))).into(),
        ipc: node(spec.host_ipc).into(),
        pid: pid.into(),
        ..Default::default()
    }
}

fn seccomp(profile: Option<&SeccompProfile>, folder: &Path) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    match profile {
        Some(p) if p.type_ == "RuntimeDefault" => {
            v1::SecurityProfile { profile_type: ProfileType::RuntimeDefault.into(), ..Default::default() }
        }
        Some(p) if p.type_ == "Localhost" => v1::SecurityProfile {
            profile_type: ProfileType::Localhost.into(),
            localhost_ref: folder
                .join(p.localhost_profile.as_deref().unwrap_or_default())
                .to_string_lossy()
                .into_owned(),
        },
        _ => v1::SecurityProfile { profile_type: ProfileType::Unconfined.into(), ..Default::default() },
    }
}

fn groups(pod: &Pod) -> Vec<i64> {
    let context = pod_spec(pod).security_context.as_ref();
    let mut groups: Vec<i64> = context.and_then(|c| c.fs_group).into_iter().collect();
    groups.extend(context.map(|c| list(&c.supplemental_groups)).unwrap_or_default());
    groups
}

fn groups_policy(pod: &Pod) -> i32 {
    let policy =
        pod_spec(pod).security_context.as_ref().and_then(|c| c.supplemental_groups_policy.as_deref());
    match policy {
        Some("Strict") => v1::SupplementalGroupsPolicy::Strict.into(),
        _ => v1::SupplementalGroupsPolicy::Merge.into(),
    }
}

/// Context of the sandbox.
#[must_use]
pub fn sandbox_context(pod: &Pod, seccomp_dir: &Path) -> v1::LinuxSandboxSecurityContext {
    use v1::security_profile::ProfileType;
    let context = pod_spec(pod).security_context.as_ref();
    let privileged = super::all_containers(pod_spec(pod))
        .any(|(c, _)| c.security_context.as_ref().and_then(|s| s.privileged) == Some(true));
    // The sandbox's own process gets the runtime's default profile unless the pod names one.
    let profile = match context.and_then(|c| c.seccomp_profile.as_ref()) {
        Some(profile) => seccomp(Some(profile), seccomp_dir),
        None => {
            v1::SecurityProfile { profile_type: ProfileType::RuntimeDefault.into(), ..Default::default() }
        }
    };
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: value(context.and_then(|c| c.run_as_user)),
        run_as_group: value(context.and_then(|c| c.run_as_group)),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        privileged,
        seccomp: Some(profile),
        ..Default::default()
    }
}

/// Context of a container.
#[must_use]
pub fn container_context(
    pod: &Pod,
    container: &Container,
    seccomp_dir: &Path,
) -> v1::LinuxContainerSecurityContext {
    let pod_context = pod_spec(pod).security_context.as_ref();
    let empty = SecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&empty);
    let user = own.run_as_user.or_else(|| pod_context.and_then(|c| c.run_as_user));
    let group = own.run_as_group.or_else(|| pod_context.and_then(|c| c.run_as_group));
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |paths: &[&str]| -> Vec<String> {
        if unmasked { Vec::new() } else { paths.iter().map(|p| (*p).to_owned()).collect() }
    };
    let profile =
        own.seccomp_profile.as_ref().or_else(|| pod_context.and_then(|c| c.seccomp_profile.as_ref()));
    v1::LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|c| v1::Capability {
            add_capabilities: list(&c.add).to_vec(),
            drop_capabilities: list(&c.drop).to_vec(),
            ..Default::default()
        }),
        privileged: own.privileged.unwrap_or(false),
        namespace_options: Some(namespaces(pod)),
        run_as_user: value(user),
        run_as_group: value(group),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(MASKED),
        readonly_paths: paths(READ_ONLY),
        seccomp: Some(seccomp(profile, seccomp_dir)),
        ..Default::default()
    }
}

/// Whether `runAsNonRoot` asks for a look at the image's user.
#[must_use]
pub fn wants_non_root(pod: &Pod, container: &Container) -> bool {
    let own = container.security_context.as_ref().and_then(|c| c.run_as_non_root);
    own.or_else(|| pod_spec(pod).security_context.as_ref().and_then(|c| c.run_as_non_root)) == Some(true)
}

/// Applies `runAsNonRoot`.
///
/// # Errors
/// When the container would run as root, or that cannot be told.
pub fn check_non_root(pod: &Pod, container: &Container, image: &v1::Image) -> Result<(), Refused> {
    if !wants_non_root(pod, container) {
        return Ok(());
    }
    let id = (format!("{}_{}({})", name(pod), namespace(pod), super::uid(pod)), container.name.clone());
    let user = container
        .security_context
        .as_ref()
        .and_then(|c| c.run_as_user)
        .or_else(|| pod_spec(pod).security_context.as_ref().and_then(|c| c.run_as_user));
    match user {
        Some(0) => Err(Refused::RunsAsRoot(id.0, id.1)),
        Some(_) => Ok(()),
        None if !image.username.is_empty() => {
            Err(Refused::ImageUserIsName(id.0, id.1, image.username.clone()))
        }
        None if image.uid.as_ref().is_none_or(|u| u.value == 0) => Err(Refused::ImageIsRoot(id.0, id.1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn the_containers_own_user_wins_over_the_pods() {
        let pod = pod(
            json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]},
            "containers": [{"name": "a", "securityContext": {"runAsUser": 0, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}]}),
        );
        let got = container_context(&pod, &pod_spec(&pod).containers[0], Path::new("/x"));
        assert_eq!(got.run_as_user.unwrap().value, 0);
        assert_eq!(got.run_as_group.unwrap().value, 2);
        assert_eq!(got.supplemental_groups, [3, 4]);
        assert!(got.no_new_privs && !got.privileged);
        assert_eq!(got.capabilities.unwrap().drop_capabilities, ["ALL"]);
    }

    #[test]
    fn run_as_non_root_refuses_root_and_what_cannot_be_told() {
        let check = |user: serde_json::Value, image: v1::Image| {
            let pod = pod(json!({"containers": [{"name": "a",
                "securityContext": {"runAsNonRoot": true, "runAsUser": user}}]}));
            check_non_root(&pod, &pod_spec(&pod).containers[0], &image)
        };
        let uid = |n| v1::Image { uid: Some(v1::Int64Value { value: n }), ..Default::default() };
        assert!(matches!(check(json!(0), uid(7)), Err(Refused::RunsAsRoot(..))));
        assert!(check(json!(7), uid(0)).is_ok());
        assert!(matches!(check(json!(null), uid(0)), Err(Refused::ImageIsRoot(..))));
        assert!(check(json!(null), uid(7)).is_ok());
        let named = v1::Image { username: "www".into(), ..Default::default() };
        assert_eq!(
            check(json!(null), named).unwrap_err().to_string(),
            "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root (pod: \"p_n(u)\", container: a)"
        );
    }
}
