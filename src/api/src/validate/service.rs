//! Services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use serde_json::json;

use super::{
    IMMUTABLE, IP_ADDRESS, all_invalid, labels, one_of, optional_one_of, plain, port, port_number, required,
};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;

/// The address of a service that has none.
const HEADLESS: &str = "None";

/// A new service.
pub(crate) fn create(service: &Service) -> Errors {
    let mut errors = Errors::new();
    let empty = ServiceSpec::default();
    spec(&mut errors, &Path::new("spec"), service.spec.as_ref().unwrap_or(&empty));
    errors
}

/// A changed service keeps its address.
pub(crate) fn update(new: &Service, old: &Service, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = create(new);
    let path = Path::new("spec");
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return errors };
    let (address, before) = (plain(new.cluster_ip.as_ref()), plain(old.cluster_ip.as_ref()));
    let has_address = |spec: &ServiceSpec| plain(spec.type_.as_ref()) != "ExternalName";
    if has_address(new) && has_address(old) && !before.is_empty() && address != before {
        errors.invalid(&path.child("clusterIPs").index(0), address, "may not change once set");
    }
    let class = path.child("loadBalancerClass");
    let balanced = |spec: &ServiceSpec| plain(spec.type_.as_ref()) == "LoadBalancer";
    if balanced(new) && balanced(old) && new.load_balancer_class != old.load_balancer_class {
        errors.invalid(&class, plain(new.load_balancer_class.as_ref()), "may not change once set");
    }
    if new.health_check_node_port != old.health_check_node_port
        && old.health_check_node_port.unwrap_or_default() != 0
        && balanced(new)
        && balanced(old)
    {
        let port = new.health_check_node_port.unwrap_or_default();
        errors.invalid(&path.child("healthCheckNodePort"), port, IMMUTABLE);
    }
    errors
}

fn spec(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let type_ = plain(spec.type_.as_ref());
    let address = plain(spec.cluster_ip.as_ref());
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && address != HEADLESS && type_ != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    one_of(errors, &path.child("type"), type_, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    if matches!(type_, "LoadBalancer" | "NodePort") && address == HEADLESS {
        let detail = format!("may not be set to 'None' for {type_} services");
        errors.invalid(&path.child("clusterIPs").index(0), HEADLESS, &detail);
    }
    if type_ == "ExternalName" {
        if !address.is_empty() {
            errors.forbidden(&path.child("clusterIPs"), "may not be set for ExternalName services");
        }
        let name = plain(spec.external_name.as_ref());
        let name = name.strip_suffix('.').unwrap_or(name);
        if required(errors, &path.child("externalName"), name).is_some() {
            all_invalid(errors, &path.child("externalName"), name, names::dns_subdomain(name));
        }
    }
    self::ports(errors, &path.child("ports"), ports, address == HEADLESS, type_);
    labels(errors, &path.child("selector"), spec.selector.as_ref());
    one_of(
        errors,
        &path.child("sessionAffinity"),
        plain(spec.session_affinity.as_ref()),
        &["ClientIP", "None"],
    );
    addresses(errors, path, spec, type_);
    traffic(errors, path, spec, type_);
}

fn ports(errors: &mut Errors, path: &Path, ports: &[ServicePort], headless: bool, type_: &str) {
    let mut names_seen = BTreeSet::new();
    let mut numbers_seen = BTreeSet::new();
    let mut nodes_seen = BTreeSet::new();
    for (index, given) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = plain(given.name.as_ref());
        if !name.is_empty() {
            all_invalid(errors, &path.child("name"), name, names::dns_label(name));
            if !names_seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        } else if ports.len() > 1 {
            errors.required(&path.child("name"), "");
        }
        port_number(errors, &path.child("port"), given.port);
        let protocol = plain(given.protocol.as_ref());
        one_of(errors, &path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        if let Some(target) = &given.target_port
            && !headless
        {
            port(errors, &path.child("targetPort"), target);
        }
        let protocol_of_app = plain(given.app_protocol.as_ref());
        if !protocol_of_app.is_empty() {
            let messages = names::qualified_name(protocol_of_app);
            all_invalid(errors, &path.child("appProtocol"), protocol_of_app, messages);
        }
        if !numbers_seen.insert((protocol, given.port)) {
            errors.duplicate(&path, json!({"protocol": protocol, "port": given.port}));
        }
        let node = given.node_port.unwrap_or_default();
        if node == 0 {
            continue;
        }
        if matches!(type_, "ClusterIP" | "ExternalName") {
            let detail = format!("may not be used when `type` is '{type_}'");
            errors.forbidden(&path.child("nodePort"), &detail);
        } else {
            port_number(errors, &path.child("nodePort"), node);
        }
        if !nodes_seen.insert((protocol, node)) {
            errors.duplicate(&path.child("nodePort"), node);
        }
    }
}

fn addresses(errors: &mut Errors, path: &Path, spec: &ServiceSpec, type_: &str) {
    let address = plain(spec.cluster_ip.as_ref());
    if type_ != "ExternalName"
        && !address.is_empty()
        && address != HEADLESS
        && address.parse::<IpAddr>().is_err()
    {
        errors.invalid(&path.child("clusterIPs").index(0), address, IP_ADDRESS);
    }
    if let Some(first) = spec.cluster_ips.as_ref().and_then(|ips| ips.first())
        && first != address
    {
        errors.invalid(
            &path.child("clusterIPs"),
            json!(spec.cluster_ips),
            "first value must match `clusterIP`",
        );
    }
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        let path = path.child("externalIPs").index(index);
        match ip.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => {
                errors.invalid(
                    &path,
                    ip.to_string(),
                    "may not be in the loopback range (127.0.0.0/8, ::1/128)",
                );
            }
            Ok(ip) if ip.is_unspecified() => {
                errors.invalid(&path, ip.to_string(), "may not be unspecified (0.0.0.0 or ::)");
            }
            Ok(_) => {}
            Err(_) => errors.invalid(&path, ip.as_str(), IP_ADDRESS),
        }
    }
    if type_ != "LoadBalancer" {
        for (field, given) in [
            ("loadBalancerClass", spec.load_balancer_class.is_some()),
            ("allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
        ] {
            if given {
                errors.forbidden(&path.child(field), "may only be used when `type` is 'LoadBalancer'");
            }
        }
    }
}

fn traffic(errors: &mut Errors, path: &Path, spec: &ServiceSpec, type_: &str) {
    let external = plain(spec.external_traffic_policy.as_ref());
    let external_path = path.child("externalTrafficPolicy");
    let reachable = matches!(type_, "LoadBalancer" | "NodePort")
        || (type_ == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    if !reachable && !external.is_empty() {
        errors.invalid(&external_path, external, "may only be set for externally-accessible services");
    } else {
        optional_one_of(errors, &external_path, Some(external), &["Cluster", "Local"]);
    }
    let internal = spec.internal_traffic_policy.as_deref();
    optional_one_of(errors, &path.child("internalTrafficPolicy"), internal, &["Cluster", "Local"]);
    let health = spec.health_check_node_port.unwrap_or_default();
    if health != 0 && !(type_ == "LoadBalancer" && external == "Local") {
        errors.invalid(
            &path.child("healthCheckNodePort"),
            health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
}
