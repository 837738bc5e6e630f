//! Groups with few rules: rbac, networking, policy, scheduling and more.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass, NetworkPolicy};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::json;

use super::{
    POSITIVE, all_invalid, at_most_all, count_or_percent, immutable, one_of, plain, port_number, required,
    selector,
};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;
use crate::typed::encode::to_value;

fn rules(errors: &mut Errors, rules: Option<&Vec<PolicyRule>>, namespaced: bool) {
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let path = Path::new("rules").index(index);
        let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if rule.verbs.is_empty() {
            errors.required(&path.child("verbs"), "verbs must contain at least one value");
        }
        if given(&rule.non_resource_urls) {
            let shown = json!(rule.non_resource_urls);
            let path = path.child("nonResourceURLs");
            if namespaced {
                errors.invalid(&path, shown.clone(), "namespaced rules cannot apply to non-resource URLs");
            }
            if given(&rule.api_groups) || given(&rule.resources) || given(&rule.resource_names) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&path, shown, detail);
            }
            continue;
        }
        if !given(&rule.api_groups) {
            errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
        }
        if !given(&rule.resources) {
            errors.required(&path.child("resources"), "resource rules must supply at least one resource");
        }
    }
}

/// A new role.
pub(crate) fn role(object: &Role) -> Errors {
    let mut errors = Errors::new();
    rules(&mut errors, object.rules.as_ref(), true);
    errors
}

/// A changed role.
pub(crate) fn role_update(new: &Role, _: &Role, _: Part<'_>) -> Errors {
    role(new)
}

/// A new cluster role.
pub(crate) fn cluster_role(object: &ClusterRole) -> Errors {
    let mut errors = Errors::new();
    rules(&mut errors, object.rules.as_ref(), false);
    let selectors = object.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
    if object.aggregation_rule.is_some() {
        let path = Path::new("aggregationRule").child("clusterRoleSelectors");
        if selectors.is_none_or(Vec::is_empty) {
            errors.required(&path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (index, given) in selectors.into_iter().flatten().enumerate() {
            selector(&mut errors, &path.index(index), given);
        }
    }
    errors
}

/// A changed cluster role.
pub(crate) fn cluster_role_update(new: &ClusterRole, _: &ClusterRole, _: Part<'_>) -> Errors {
    cluster_role(new)
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn binding(errors: &mut Errors, role: &RoleRef, subjects: Option<&Vec<Subject>>, namespaced: bool) {
    let path = Path::new("roleRef");
    one_of(errors, &path.child("apiGroup"), plain(role.api_group.as_ref()), &[RBAC]);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.child("kind"), role.kind.as_str(), kinds);
    }
    if required(errors, &path.child("name"), &role.name).is_some() {
        all_invalid(errors, &path.child("name"), &role.name, names::path_segment(&role.name));
    }
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        let path = Path::new("subjects").index(index);
        required(errors, &path.child("name"), &subject.name);
        let group = plain(subject.api_group.as_ref());
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    all_invalid(
                        errors,
                        &path.child("name"),
                        &subject.name,
                        names::dns_subdomain(&subject.name),
                    );
                }
                if !group.is_empty() {
                    errors.not_supported(&path.child("apiGroup"), group, &[""]);
                }
                if !namespaced && plain(subject.namespace.as_ref()).is_empty() {
                    errors.required(&path.child("namespace"), "");
                }
            }
            "User" | "Group" => {
                if group != RBAC {
                    errors.not_supported(&path.child("apiGroup"), group, &[RBAC]);
                }
            }
            other => {
                errors.not_supported(&path.child("kind"), other, &["Group", "ServiceAccount", "User"]);
            }
        }
    }
}

fn same_role(errors: &mut Errors, new: &RoleRef, old: &RoleRef) {
    if new != old {
        errors.invalid(&Path::new("roleRef"), to_value(new), "cannot change roleRef");
    }
}

/// A new role binding.
pub(crate) fn role_binding(object: &RoleBinding) -> Errors {
    let mut errors = Errors::new();
    binding(&mut errors, &object.role_ref, object.subjects.as_ref(), true);
    errors
}

/// A binding keeps its role.
pub(crate) fn role_binding_update(new: &RoleBinding, old: &RoleBinding, _: Part<'_>) -> Errors {
    let mut errors = role_binding(new);
    same_role(&mut errors, &new.role_ref, &old.role_ref);
    errors
}

/// A new cluster role binding.
pub(crate) fn cluster_role_binding(object: &ClusterRoleBinding) -> Errors {
    let mut errors = Errors::new();
    binding(&mut errors, &object.role_ref, object.subjects.as_ref(), false);
    errors
}

/// A binding keeps its role.
pub(crate) fn cluster_role_binding_update(
    new: &ClusterRoleBinding,
    old: &ClusterRoleBinding,
    _: Part<'_>,
) -> Errors {
    let mut errors = cluster_role_binding(new);
    same_role(&mut errors, &new.role_ref, &old.role_ref);
    errors
}

/// A new ingress.
pub(crate) fn ingress(object: &Ingress) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else { return errors };
    let rules = spec.rules.as_deref().unwrap_or_default();
    if let Some(default) = &spec.default_backend {
        backend(&mut errors, &path.child("defaultBackend"), default);
    } else if rules.is_empty() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(&path, to_value(spec), detail);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.child("rules").index(index);
        if let Some(host) = rule.host.as_deref().filter(|host| !host.is_empty()) {
            let name = host.strip_prefix("*.").unwrap_or(host);
            if host.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid(&path.child("host"), host, "must be a DNS name, not an IP address");
            } else {
                all_invalid(&mut errors, &path.child("host"), host, names::dns_subdomain(name));
            }
        }
        let Some(http) = &rule.http else { continue };
        let path = path.child("http").child("paths");
        if http.paths.is_empty() {
            errors.required(&path, "");
        }
        for (index, given) in http.paths.iter().enumerate() {
            let path = path.index(index);
            let text = plain(given.path.as_ref());
            if given.path_type.is_empty() {
                errors.required(&path.child("pathType"), "pathType must be specified");
            }
            match given.path_type.as_str() {
                "Exact" | "Prefix" | "ImplementationSpecific" => {
                    let specific = given.path_type == "ImplementationSpecific";
                    if !(text.starts_with('/') || specific && text.is_empty()) {
                        errors.invalid(&path.child("path"), text, "must be an absolute path");
                    }
                }
                "" => {}
                other => {
                    let supported = ["Exact", "ImplementationSpecific", "Prefix"];
                    errors.not_supported(&path.child("pathType"), other, &supported);
                }
            }
            backend(&mut errors, &path.child("backend"), &given.backend);
        }
    }
    errors
}

fn backend(errors: &mut Errors, path: &Path, backend: &IngressBackend) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => {
            errors.invalid(path, "", "cannot set both resource and service backends");
        }
        (None, None) => errors.required(path, "resource or service backend is required"),
        (None, Some(resource)) => {
            required(errors, &path.child("resource").child("name"), &resource.name);
        }
        (Some(service), None) => {
            let path = path.child("service");
            if required(errors, &path.child("name"), &service.name).is_some() {
                let messages = names::dns1035_label(&service.name);
                all_invalid(errors, &path.child("name"), &service.name, messages);
            }
            let port = service.port.as_ref();
            let name = plain(port.and_then(|port| port.name.as_ref()));
            let number = port.and_then(|port| port.number).unwrap_or_default();
            if !name.is_empty() && number != 0 {
                errors.invalid(&path, "", "cannot set both port name & port number");
            } else if !name.is_empty() {
                all_invalid(errors, &path.child("port").child("name"), name, names::port_name(name));
            } else if number != 0 {
                port_number(errors, &path.child("port").child("number"), number);
            } else {
                errors.required(&path, "port name or number is required");
            }
        }
    }
}

/// A changed ingress.
pub(crate) fn ingress_update(new: &Ingress, _: &Ingress, part: Part<'_>) -> Errors {
    if part == Part::Main { ingress(new) } else { Errors::new() }
}

/// An ingress class keeps its controller.
pub(crate) fn ingress_class_update(new: &IngressClass, old: &IngressClass, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    let controller = |class: &IngressClass| class.spec.as_ref().and_then(|spec| spec.controller.clone());
    immutable(&mut errors, &Path::new("spec").child("controller"), &controller(new), &controller(old));
    errors
}

/// A new network policy.
pub(crate) fn network_policy(object: &NetworkPolicy) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else { return errors };
    if let Some(given) = &spec.pod_selector {
        selector(&mut errors, &path.child("podSelector"), given);
    }
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.invalid(&path.child("policyTypes"), json!(types), detail);
    } else {
        for (index, type_) in types.iter().enumerate() {
            one_of(&mut errors, &path.child("policyTypes").index(index), type_, &["Egress", "Ingress"]);
        }
    }
    let ingress = spec.ingress.iter().flatten().map(|rule| ("ingress", &rule.ports, &rule.from, "from"));
    let egress = spec.egress.iter().flatten().map(|rule| ("egress", &rule.ports, &rule.to, "to"));
    for (index, (name, ports, peers, direction)) in ingress.enumerate().chain(egress.enumerate()) {
        let path = path.child(name).index(index);
        for (index, given) in ports.iter().flatten().enumerate() {
            let path = path.child("ports").index(index);
            let protocol = plain(given.protocol.as_ref());
            one_of(&mut errors, &path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
            if let Some(number) = &given.port {
                super::port(&mut errors, &path.child("port"), number);
            }
        }
        for (index, peer) in peers.iter().flatten().enumerate() {
            let path = path.child(direction).index(index);
            let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
            if selects && peer.ip_block.is_some() {
                errors.forbidden(&path, "may not specify both ipBlock and another peer");
            } else if !selects && peer.ip_block.is_none() {
                errors.required(&path, "must specify a peer");
            }
        }
    }
    errors
}

/// A changed network policy.
pub(crate) fn network_policy_update(new: &NetworkPolicy, _: &NetworkPolicy, _: Part<'_>) -> Errors {
    network_policy(new)
}

/// A new endpoint slice.
pub(crate) fn endpoint_slice(object: &EndpointSlice) -> Errors {
    let mut errors = Errors::new();
    one_of(&mut errors, &Path::new("addressType"), &object.address_type, &["FQDN", "IPv4", "IPv6"]);
    let endpoints = object.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > 1000 {
        errors.too_many(&Path::new("endpoints"), endpoints.len(), 1000);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = Path::new("endpoints").index(index).child("addresses");
        if endpoint.addresses.is_empty() {
            errors.required(&path, "must contain at least 1 address");
        }
        for (index, address) in endpoint.addresses.iter().enumerate() {
            let valid = match object.address_type.as_str() {
                "IPv4" => address.parse::<std::net::Ipv4Addr>().is_ok(),
                "IPv6" => address.parse::<std::net::Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !valid {
                errors.invalid(&path.index(index), address.as_str(), super::IP_ADDRESS);
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, port) in object.ports.iter().flatten().enumerate() {
        let path = Path::new("ports").index(index);
        let name = plain(port.name.as_ref());
        if !name.is_empty() {
            all_invalid(&mut errors, &path.child("name"), name, names::dns_label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        one_of(&mut errors, &path.child("protocol"), plain(port.protocol.as_ref()), &["SCTP", "TCP", "UDP"]);
    }
    errors
}

/// A slice keeps its type of addresses.
pub(crate) fn endpoint_slice_update(new: &EndpointSlice, old: &EndpointSlice, _: Part<'_>) -> Errors {
    let mut errors = endpoint_slice(new);
    immutable(&mut errors, &Path::new("addressType"), &new.address_type, &old.address_type);
    errors
}

/// A new disruption budget.
pub(crate) fn budget(object: &PodDisruptionBudget) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else { return errors };
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        errors.invalid(&path, to_value(spec), "minAvailable and maxUnavailable cannot be both set");
    }
    for (name, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
        count_or_percent(&mut errors, &path.child(name), value.as_ref());
        at_most_all(&mut errors, &path.child(name), value.as_ref());
    }
    if let Some(given) = &spec.selector {
        selector(&mut errors, &path.child("selector"), given);
    }
    errors
}

/// A changed disruption budget.
pub(crate) fn budget_update(new: &PodDisruptionBudget, _: &PodDisruptionBudget, part: Part<'_>) -> Errors {
    if part == Part::Main { budget(new) } else { Errors::new() }
}

/// A new autoscaler.
pub(crate) fn autoscaler(object: &HorizontalPodAutoscaler) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    if let Some(min) = spec.min_replicas {
        if min < 1 {
            errors.invalid(&path.child("minReplicas"), min, "must be greater than or equal to 1");
        }
        if spec.max_replicas < min {
            errors.invalid(
                &path.child("maxReplicas"),
                spec.max_replicas,
                "must be greater than or equal to `minReplicas`",
            );
        }
    }
    if spec.max_replicas < 1 {
        errors.invalid(&path.child("maxReplicas"), spec.max_replicas, POSITIVE);
    }
    required(&mut errors, &path.child("scaleTargetRef").child("kind"), &spec.scale_target_ref.kind);
    required(&mut errors, &path.child("scaleTargetRef").child("name"), &spec.scale_target_ref.name);
    errors
}

/// A changed autoscaler.
pub(crate) fn autoscaler_update(
    new: &HorizontalPodAutoscaler,
    _: &HorizontalPodAutoscaler,
    part: Part<'_>,
) -> Errors {
    if part == Part::Main { autoscaler(new) } else { Errors::new() }
}

/// A new priority class.
pub(crate) fn priority_class(object: &PriorityClass) -> Errors {
    let mut errors = Errors::new();
    let name = plain(object.metadata.name.as_ref());
    let value = object.value.unwrap_or_default();
    if name.starts_with("system-") {
        let known = matches!(
            (name, value),
            ("system-cluster-critical", 2_000_000_000) | ("system-node-critical", 2_000_001_000)
        );
        if !known {
            let path = Path::new("metadata").child("name");
            errors.forbidden(
                &path,
                "priority class names with 'system-' prefix are reserved for system use only. error: the name or \
                 value is not that of a system priority class",
            );
        }
    } else if value > 1_000_000_000 {
        let detail = "maximum allowed value of a user defined priority is 1000000000";
        errors.forbidden(&Path::new("value"), detail);
    }
    one_of(
        &mut errors,
        &Path::new("preemptionPolicy"),
        plain(object.preemption_policy.as_ref()),
        &["Never", "PreemptLowerPriority"],
    );
    errors
}

/// A priority keeps its value.
pub(crate) fn priority_class_update(new: &PriorityClass, old: &PriorityClass, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    if new.value != old.value {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    immutable(&mut errors, &Path::new("preemptionPolicy"), &new.preemption_policy, &old.preemption_policy);
    errors
}

/// A new runtime class.
pub(crate) fn runtime_class(object: &RuntimeClass) -> Errors {
    let mut errors = Errors::new();
    all_invalid(&mut errors, &Path::new("handler"), &object.handler, names::dns_label(&object.handler));
    errors
}

/// A runtime class keeps its handler.
pub(crate) fn runtime_class_update(new: &RuntimeClass, old: &RuntimeClass, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    immutable(&mut errors, &Path::new("handler"), &new.handler, &old.handler);
    errors
}

/// A new lease.
pub(crate) fn lease(object: &Lease) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else { return errors };
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, POSITIVE);
    }
    super::not_negative(&mut errors, &path.child("leaseTransitions"), spec.lease_transitions);
    errors
}

/// A changed lease.
pub(crate) fn lease_update(new: &Lease, _: &Lease, _: Part<'_>) -> Errors {
    lease(new)
}

/// A new request for a certificate.
pub(crate) fn signing_request(object: &CertificateSigningRequest) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    if object.spec.request.0.is_empty() {
        errors.required(&path.child("request"), "");
    }
    if object.spec.usages.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&path.child("usages"), "");
    }
    let signer = object.spec.signer_name.as_str();
    if required(&mut errors, &path.child("signerName"), signer).is_some() && !signer.contains('/') {
        errors.invalid(
            &path.child("signerName"),
            signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    }
    if let Some(seconds) = object.spec.expiration_seconds.filter(|seconds| *seconds < 600) {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
    errors
}

/// A new definition: named for what it defines, stored in one version.
pub(crate) fn definition(object: &CustomResourceDefinition) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    let name = plain(object.metadata.name.as_ref());
    if name != format!("{}.{}", spec.names.plural, spec.group) {
        let path = Path::new("metadata").child("name");
        errors.invalid(&path, name, "must be spec.names.plural+\".\"+spec.group");
    }
    if required(&mut errors, &path.child("group"), &spec.group).is_some() {
        all_invalid(&mut errors, &path.child("group"), &spec.group, names::dns_subdomain(&spec.group));
        if spec.group.split('.').count() < 2 {
            errors.invalid(
                &path.child("group"),
                spec.group.as_str(),
                "should be a domain with at least one dot",
            );
        }
    }
    one_of(&mut errors, &path.child("scope"), &spec.scope, &["Cluster", "Namespaced"]);
    let names_path = path.child("names");
    if required(&mut errors, &names_path.child("plural"), &spec.names.plural).is_some() {
        let messages = names::dns1035_label(&spec.names.plural);
        all_invalid(&mut errors, &names_path.child("plural"), &spec.names.plural, messages);
    }
    if required(&mut errors, &names_path.child("kind"), &spec.names.kind).is_some() {
        let messages = names::dns1035_label(&spec.names.kind.to_lowercase());
        all_invalid(&mut errors, &names_path.child("kind"), &spec.names.kind, messages);
    }
    let versions = path.child("versions");
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        let list: Vec<&str> = spec.versions.iter().map(|version| version.name.as_str()).collect();
        errors.invalid(&versions, json!(list), "must have exactly one version marked as storage version");
    }
    for (index, version) in spec.versions.iter().enumerate() {
        let path = versions.index(index);
        all_invalid(&mut errors, &path.child("name"), &version.name, names::dns1035_label(&version.name));
        if version.schema.as_ref().is_none_or(|schema| schema.open_api_v3_schema.is_none()) {
            errors.required(&path.child("schema").child("openAPIV3Schema"), "schemas are required");
        }
    }
    errors
}

/// A definition keeps its group, kind and scope.
pub(crate) fn definition_update(
    new: &CustomResourceDefinition,
    old: &CustomResourceDefinition,
    part: Part<'_>,
) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = definition(new);
    let path = Path::new("spec");
    immutable(&mut errors, &path.child("group"), &new.spec.group, &old.spec.group);
    immutable(
        &mut errors,
        &path.child("names").child("plural"),
        &new.spec.names.plural,
        &old.spec.names.plural,
    );
    immutable(&mut errors, &path.child("names").child("kind"), &new.spec.names.kind, &old.spec.names.kind);
    immutable(&mut errors, &path.child("scope"), &new.spec.scope, &old.spec.scope);
    errors
}

/// A new registration of a group served elsewhere.
pub(crate) fn api_service(object: &APIService) -> Errors {
    let mut errors = Errors::new();
    let Some(spec) = &object.spec else { return errors };
    let wanted = format!("{}.{}", plain(spec.version.as_ref()), plain(spec.group.as_ref()));
    let name = plain(object.metadata.name.as_ref());
    if name.trim_end_matches('.') != wanted.trim_end_matches('.') {
        errors.invalid(
            &Path::new("metadata").child("name"),
            name,
            &format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"),
        );
    }
    let path = Path::new("spec");
    if !(1..=20_000).contains(&spec.group_priority_minimum) {
        let detail = "must be positive and less than 20000";
        errors.invalid(&path.child("groupPriorityMinimum"), spec.group_priority_minimum, detail);
    }
    if !(1..=1000).contains(&spec.version_priority) {
        let detail = "must be positive and less than 1000";
        errors.invalid(&path.child("versionPriority"), spec.version_priority, detail);
    }
    errors
}

/// A changed registration.
pub(crate) fn api_service_update(new: &APIService, _: &APIService, part: Part<'_>) -> Errors {
    if part == Part::Main { api_service(new) } else { Errors::new() }
}
