//! Pods and pod templates.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplate, PodTemplateSpec};

use super::container::{Surroundings, containers};
use super::scheduling::scheduling;
use super::volume::volumes;
use super::{all_invalid, labels, one_of, plain, required, resources, template_metadata};
use crate::field::{Errors, Path};
use crate::names;

/// A new pod.
pub(crate) fn create(pod: &Pod) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    self::spec(&mut errors, &path, spec);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    errors
}

/// A stored template.
pub(crate) fn pod_template(object: &PodTemplate) -> Errors {
    let mut errors = Errors::new();
    if let Some(template) = &object.template {
        self::template(&mut errors, &Path::new("template"), template);
    }
    errors
}

/// The template of a workload.
pub(super) fn template(errors: &mut Errors, path: &Path, template: &PodTemplateSpec) {
    template_metadata(errors, &path.child("metadata"), template.metadata.as_ref());
    let path = path.child("spec");
    let empty = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&empty);
    self::spec(errors, &path, spec);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.forbidden(
            &path.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// A user or group number.
pub(super) fn id(errors: &mut Errors, path: &Path, id: Option<i64>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(path, id, "must be between 0 and 2147483647, inclusive");
    }
}

/// Deadlines of pods and jobs.
fn deadline(errors: &mut Errors, path: &Path, seconds: Option<i64>) {
    if let Some(seconds) = seconds.filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds)) {
        errors.invalid(path, seconds, "must be between 1 and 2147483647, inclusive");
    }
}

/// All that is wrong with what a pod asks for.
pub(super) fn spec(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let around = Surroundings {
        volumes: volumes(errors, path, spec),
        claims: spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect(),
        grace: spec.termination_grace_period_seconds,
        host_network: spec.host_network == Some(true),
    };
    containers(errors, path, spec, &around);
    one_of(
        errors,
        &path.child("restartPolicy"),
        plain(spec.restart_policy.as_ref()),
        &["Always", "OnFailure", "Never"],
    );
    dns(errors, path, spec);
    labels(errors, &path.child("nodeSelector"), spec.node_selector.as_ref());
    for (field, value, check) in [
        ("serviceAccountName", &spec.service_account_name, names::dns_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", &spec.node_name, names::dns_subdomain),
        ("hostname", &spec.hostname, names::dns_label),
        ("subdomain", &spec.subdomain, names::dns_label),
        ("priorityClassName", &spec.priority_class_name, names::dns_subdomain),
        ("runtimeClassName", &spec.runtime_class_name, names::dns_subdomain),
    ] {
        let value = plain(value.as_ref());
        if !value.is_empty() {
            all_invalid(errors, &path.child(field), value, check(value));
        }
    }
    deadline(errors, &path.child("activeDeadlineSeconds"), spec.active_deadline_seconds);
    security(errors, &path.child("securityContext"), spec);
    scheduling(errors, path, spec);
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.child("hostAliases").index(index);
        if alias.ip.parse::<IpAddr>().is_err() {
            errors.invalid(&path.child("ip"), alias.ip.as_str(), super::IP_ADDRESS);
        }
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            all_invalid(errors, &path.child("hostnames").index(index), name, names::dns_subdomain(name));
        }
    }
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        all_invalid(errors, &path, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    if let Some(given) = &spec.resources {
        resources::requirements(errors, &path.child("resources"), given);
    }
}

fn dns(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let policy = plain(spec.dns_policy.as_ref());
    let supported = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(errors, &path.child("dnsPolicy"), policy, &supported);
    let config_path = path.child("dnsConfig");
    let nameservers = spec.dns_config.as_ref().and_then(|config| config.nameservers.as_deref());
    let nameservers = nameservers.unwrap_or_default();
    if policy == "None" {
        if spec.dns_config.is_none() {
            errors.required(&config_path, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if nameservers.is_empty() {
            errors.required(
                &config_path.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
        }
    }
    let Some(config) = &spec.dns_config else { return };
    if nameservers.len() > 3 {
        let path = config_path.child("nameservers");
        errors.invalid(&path, nameservers.to_vec(), "must not have more than 3 nameservers");
    }
    for (index, server) in nameservers.iter().enumerate() {
        if server.parse::<IpAddr>().is_err() {
            errors.invalid(
                &config_path.child("nameservers").index(index),
                server.as_str(),
                super::IP_ADDRESS,
            );
        }
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > 32 {
        let path = config_path.child("searches");
        errors.invalid(&path, searches.to_vec(), "must not have more than 32 search paths");
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        let path = config_path.child("options").index(index);
        if option.name.as_deref().unwrap_or_default().is_empty() {
            errors.required(&path, "must not be empty");
        }
    }
}

fn security(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let Some(context) = &spec.security_context else { return };
    for (name, value) in [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ] {
        id(errors, &path.child(name), value);
    }
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(errors, &path.child("supplementalGroups").index(index), Some(*group));
    }
    super::optional_one_of(
        errors,
        &path.child("fsGroupChangePolicy"),
        context.fs_group_change_policy.as_deref(),
        &["Always", "OnRootMismatch"],
    );
    let mut seen = std::collections::BTreeSet::new();
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let path = path.child("sysctls").index(index).child("name");
        if required(errors, &path, &sysctl.name).is_some() && !seen.insert(&sysctl.name) {
            errors.duplicate(&path, sysctl.name.as_str());
        }
    }
    if let Some(profile) = &context.seccomp_profile {
        let path = path.child("seccompProfile");
        one_of(errors, &path.child("type"), &profile.type_, &["Localhost", "RuntimeDefault", "Unconfined"]);
        if profile.type_ == "Localhost" && plain(profile.localhost_profile.as_ref()).is_empty() {
            errors.required(&path.child("localhostProfile"), "must be set when seccomp type is Localhost");
        }
    }
}
