//! Ingresses, network policies and endpoint slices.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass, NetworkPolicy};
use serde_json::json;

use super::{all_invalid, immutable, one_of, plain, port_number, required, selector};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;
use crate::typed::encode::to_value;

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
