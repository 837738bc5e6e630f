//! Services keep what was allocated for them when an update does not say it.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::strategy::Part;

/// A new service has no load balancer yet.
pub(crate) fn create(object: &mut Service) {
    object.status.get_or_insert_default().load_balancer = Some(Default::default());
}

/// Addresses and node ports stay while the type that needs them does.
pub(crate) fn update(new: &mut Service, old: &Service, part: Part<'_>) {
    if part != Part::Main {
        return;
    }
    let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
    if needs_cluster_ip(new) && needs_cluster_ip(old) {
        let unset = new.cluster_ip.as_deref().unwrap_or_default().is_empty();
        if unset && new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            new.cluster_ip.clone_from(&old.cluster_ip);
            new.cluster_ips.clone_from(&old.cluster_ips);
        } else if unset {
            new.cluster_ip = new.cluster_ips.as_ref().and_then(|ips| ips.first().cloned());
        } else if new.cluster_ip == old.cluster_ip && new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
        if new.ip_families.as_ref().is_none_or(Vec::is_empty) {
            new.ip_families.clone_from(&old.ip_families);
        }
        if new.ip_family_policy.is_none() {
            new.ip_family_policy.clone_from(&old.ip_family_policy);
        }
    }
    if needs_node_ports(new) && needs_node_ports(old) {
        keep_node_ports(new, old);
    }
    if needs_health_check(new)
        && needs_health_check(old)
        && new.health_check_node_port.unwrap_or_default() == 0
    {
        new.health_check_node_port = old.health_check_node_port;
    }
    drop_unneeded(new, old);
}

fn type_of(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

fn needs_cluster_ip(spec: &ServiceSpec) -> bool {
    matches!(type_of(spec), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_ports(spec: &ServiceSpec) -> bool {
    match type_of(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

/// Reached from outside of the cluster: by node ports, a load balancer or addresses of its own.
fn is_external(spec: &ServiceSpec) -> bool {
    let external = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    match type_of(spec) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => external,
        _ => false,
    }
}

fn needs_health_check(spec: &ServiceSpec) -> bool {
    type_of(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Ports are the same when protocol and port number are.
fn keep_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let olds = old.ports.as_deref().unwrap_or_default();
    let used: Vec<i32> = new.ports.iter().flatten().filter_map(|port| port.node_port).collect();
    for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or_default() == 0) {
        let same = olds.iter().find(|other| other.port == port.port && other.protocol == port.protocol);
        if let Some(number) = same.and_then(|other| other.node_port)
            && !used.contains(&number)
        {
            port.node_port = Some(number);
        }
    }
}

/// Values of the old type that an update repeats are dropped with the type.
fn drop_unneeded(new: &mut ServiceSpec, old: &ServiceSpec) {
    if needs_cluster_ip(old) && !needs_cluster_ip(new) && new.cluster_ip == old.cluster_ip {
        new.cluster_ip = None;
        new.cluster_ips = None;
        new.ip_families = None;
        new.ip_family_policy = None;
    }
    if needs_node_ports(old) && !needs_node_ports(new) {
        let olds = old.ports.as_deref().unwrap_or_default();
        for port in new.ports.iter_mut().flatten() {
            let repeated =
                olds.iter().any(|other| other.port == port.port && other.node_port == port.node_port);
            if repeated {
                port.node_port = None;
            }
        }
    }
    if is_external(old) && !is_external(new) && new.external_traffic_policy == old.external_traffic_policy {
        new.external_traffic_policy = None;
    }
    if type_of(old) == "LoadBalancer" && type_of(new) != "LoadBalancer" {
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            new.allocate_load_balancer_node_ports = None;
        }
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
    if needs_health_check(old)
        && !needs_health_check(new)
        && new.health_check_node_port == old.health_check_node_port
    {
        new.health_check_node_port = None;
    }
}
