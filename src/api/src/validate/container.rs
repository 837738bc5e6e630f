//! Containers, init containers and ephemeral containers.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec, SecurityContext, VolumeMount};
use serde_json::json;

use super::environment::environment;
use super::probe::{Role, lifecycle, probe};
use super::{all_invalid, one_of, optional_one_of, plain, port_number, required, resources};
use crate::field::{Errors, Path};
use crate::names;

/// What containers may refer to in their pod.
pub(super) struct Surroundings<'a> {
    pub(super) volumes: BTreeSet<&'a str>,
    /// Names of claims of devices.
    pub(super) claims: BTreeSet<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) host_network: bool,
}

/// Which list of the pod a container is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Main,
    Init,
    Sidecar,
}

/// All containers of a pod.
pub(super) fn containers(errors: &mut Errors, path: &Path, spec: &PodSpec, around: &Surroundings<'_>) {
    let mut seen = BTreeSet::new();
    let list_path = path.child("containers");
    if spec.containers.is_empty() {
        errors.required(&list_path, "");
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = list_path.index(index);
        name(errors, &path, &container.name, &mut seen);
        one(errors, &path, container, Place::Main, around);
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = path.child("initContainers").index(index);
        name(errors, &path, &container.name, &mut seen);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        one(errors, &path, container, if sidecar { Place::Sidecar } else { Place::Init }, around);
    }
    host_ports(errors, &list_path, &spec.containers);
}

fn name<'a>(errors: &mut Errors, path: &Path, name: &'a str, seen: &mut BTreeSet<&'a str>) {
    let path = path.child("name");
    if required(errors, &path, name).is_none() {
        return;
    }
    all_invalid(errors, &path, name, names::dns_label(name));
    if !seen.insert(name) {
        errors.duplicate(&path, name);
    }
}

fn image(errors: &mut Errors, path: &Path, image: &str) {
    let path = path.child("image");
    if required(errors, &path, image).is_some() && image.trim() != image {
        errors.invalid(&path, image, "must not have leading or trailing whitespace");
    }
}

fn one(errors: &mut Errors, path: &Path, container: &Container, role: Place, around: &Surroundings<'_>) {
    image(errors, path, plain(container.image.as_ref()));
    one_of(
        errors,
        &path.child("imagePullPolicy"),
        plain(container.image_pull_policy.as_ref()),
        &["Always", "IfNotPresent", "Never"],
    );
    one_of(
        errors,
        &path.child("terminationMessagePolicy"),
        plain(container.termination_message_policy.as_ref()),
        &["FallbackToLogsOnError", "File"],
    );
    optional_one_of(
        errors,
        &path.child("restartPolicy"),
        container.restart_policy.as_deref(),
        &["Always", "Never", "OnFailure"],
    );
    if role == Place::Init {
        not_for_init(errors, path, container);
    } else {
        for (name, value, role) in [
            ("livenessProbe", &container.liveness_probe, Role::Liveness),
            ("readinessProbe", &container.readiness_probe, Role::Readiness),
            ("startupProbe", &container.startup_probe, Role::Startup),
        ] {
            if let Some(value) = value {
                probe(errors, &path.child(name), value, role);
            }
        }
        if let Some(hooks) = &container.lifecycle {
            lifecycle(errors, &path.child("lifecycle"), hooks, around.grace);
        }
    }
    ports(errors, &path.child("ports"), container, around.host_network);
    environment(errors, path, container.env.as_deref(), container.env_from.as_deref());
    mounts(errors, path, container, around);
    if let Some(given) = &container.resources {
        resources::requirements(errors, &path.child("resources"), given);
        for (index, claim) in given.claims.iter().flatten().enumerate() {
            if !around.claims.contains(claim.name.as_str()) {
                let path = path.child("resources").child("claims").index(index).child("name");
                errors.not_found(&path, claim.name.as_str());
            }
        }
    }
    if let Some(context) = &container.security_context {
        security(errors, &path.child("securityContext"), context);
    }
}

fn not_for_init(errors: &mut Errors, path: &Path, container: &Container) {
    const WHY: &str = "may not be set for init containers without restartPolicy=Always";
    for (name, given) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if given {
            errors.forbidden(&path.child(name), WHY);
        }
    }
}

fn ports(errors: &mut Errors, path: &Path, container: &Container, host_network: bool) {
    let mut seen = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all_invalid(errors, &path.child("name"), name, names::port_name(name));
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        if port.container_port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            port_number(errors, &path.child("containerPort"), port.container_port);
        }
        let host = port.host_port.unwrap_or_default();
        if host != 0 {
            port_number(errors, &path.child("hostPort"), host);
            if host_network && host != port.container_port {
                errors.invalid(
                    &path.child("containerPort"),
                    port.container_port,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
        }
        one_of(errors, &path.child("protocol"), plain(port.protocol.as_ref()), &["SCTP", "TCP", "UDP"]);
    }
}

/// No two containers may take the same port of the node.
fn host_ports(errors: &mut Errors, path: &Path, containers: &[Container]) {
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (at, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", plain(port.protocol.as_ref()), plain(port.host_ip.as_ref()));
            if !seen.insert(key.clone()) {
                errors.duplicate(&path.index(index).child("ports").index(at).child("hostPort"), key);
            }
        }
    }
}

fn mounts(errors: &mut Errors, path: &Path, container: &Container, around: &Surroundings<'_>) {
    let mut points = BTreeSet::new();
    let privileged = container.security_context.as_ref().and_then(|c| c.privileged) == Some(true);
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.child("volumeMounts").index(index);
        self::mount(errors, &path, mount, around, privileged);
        if !mount.mount_path.is_empty() && !points.insert(mount.mount_path.as_str()) {
            errors.invalid(&path.child("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
    }
    for (index, device) in container.volume_devices.iter().flatten().enumerate() {
        let path = path.child("volumeDevices").index(index);
        if required(errors, &path.child("name"), &device.name).is_some()
            && !around.volumes.contains(device.name.as_str())
        {
            errors.not_found(&path.child("name"), device.name.as_str());
        }
        if required(errors, &path.child("devicePath"), &device.device_path).is_some()
            && !points.insert(device.device_path.as_str())
        {
            errors.invalid(&path.child("devicePath"), device.device_path.as_str(), "must be unique");
        }
    }
}

fn mount(errors: &mut Errors, path: &Path, mount: &VolumeMount, around: &Surroundings<'_>, privileged: bool) {
    if required(errors, &path.child("name"), &mount.name).is_some()
        && !around.volumes.contains(mount.name.as_str())
    {
        errors.not_found(&path.child("name"), mount.name.as_str());
    }
    required(errors, &path.child("mountPath"), &mount.mount_path);
    let (plain_path, expression) = (plain(mount.sub_path.as_ref()), plain(mount.sub_path_expr.as_ref()));
    relative(errors, &path.child("subPath"), plain_path);
    relative(errors, &path.child("subPathExpr"), expression);
    if !plain_path.is_empty() && !expression.is_empty() {
        errors.invalid(
            &path.child("subPathExpr"),
            expression,
            "subPathExpr and subPath are mutually exclusive",
        );
    }
    let propagation = mount.mount_propagation.as_deref();
    let propagation_path = path.child("mountPropagation");
    optional_one_of(errors, &propagation_path, propagation, &["Bidirectional", "HostToContainer", "None"]);
    if propagation == Some("Bidirectional") && !privileged {
        errors.forbidden(
            &propagation_path,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

/// A path that stays inside the volume.
pub(super) fn relative(errors: &mut Errors, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    if value.split('/').any(|part| part == "..") {
        errors.invalid(path, value, "must not contain '..'");
    }
}

fn security(errors: &mut Errors, path: &Path, context: &SecurityContext) {
    for (name, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        super::pod::id(errors, &path.child(name), id);
    }
    optional_one_of(
        errors,
        &path.child("procMount"),
        context.proc_mount.as_deref(),
        &["Default", "Unmasked"],
    );
    if context.allow_privilege_escalation == Some(false) {
        let show = json!({"privileged": context.privileged, "allowPrivilegeEscalation": false});
        if context.privileged == Some(true) {
            errors.invalid(
                path,
                show,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        } else if context
            .capabilities
            .iter()
            .flat_map(|c| c.add.iter().flatten())
            .any(|c| c == "CAP_SYS_ADMIN")
        {
            errors.invalid(
                path,
                show,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

/// Ephemeral containers: new ones may do little, old ones stay.
pub(super) fn ephemeral(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    let path = path.child("ephemeralContainers");
    let olds: BTreeMap<&str, &EphemeralContainer> =
        old.ephemeral_containers.iter().flatten().map(|c| (c.name.as_str(), c)).collect();
    let mains: BTreeSet<&str> = new.containers.iter().map(|c| c.name.as_str()).collect();
    let mut seen: BTreeSet<&str> = mains.clone();
    seen.extend(new.init_containers.iter().flatten().map(|c| c.name.as_str()));
    for (index, container) in new.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.index(index);
        name(errors, &path, &container.name, &mut seen);
        image(errors, &path, plain(container.image.as_ref()));
        let target = plain(container.target_container_name.as_ref());
        if !target.is_empty() && !seen.contains(target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        for (field, given) in [
            ("ports", container.ports.as_ref().is_some_and(|ports| !ports.is_empty())),
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ] {
            if given {
                errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
            }
        }
        if let Some(before) = olds.get(container.name.as_str())
            && *before != container
        {
            let detail = format!("existing ephemeral containers {:?} may not be changed", container.name);
            errors.forbidden(&path, &detail);
        }
    }
    let names: BTreeSet<&str> = new.ephemeral_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    for gone in olds.keys().filter(|name| !names.contains(**name)) {
        errors.forbidden(&path, &format!("existing ephemeral containers {gone:?} may not be removed"));
    }
}
