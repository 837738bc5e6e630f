//! Services, endpoints, ingresses and network policies.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tree::{NONE, age, at, labels, list, name, number, or_none, selector, text};
use super::{AGE, NAME, Printer, column, wide};
use crate::strategy::Cell;

/// Elements that are shown of a long list.
const SHOWN: usize = 3;

/// `kubectl get services`.
pub(crate) static SERVICE: Printer = Printer {
    columns: &[
        NAME,
        column("Type", "string"),
        column("Cluster-IP", "string"),
        column("External-IP", "string"),
        column("Port(s)", "string"),
        AGE,
        wide("Selector", "string"),
    ],
    row: |object, now| {
        vec![
            name(object),
            Cell::from(text(object, "spec.type")),
            or_none(text(object, "spec.clusterIP")),
            Cell::from(external(object)),
            or_none(&ports(object)),
            age(object, now),
            labels(at(object, "spec.selector")),
        ]
    },
};

fn ports(service: &Value) -> String {
    let ports = list(service, "spec.ports").iter().map(|port| {
        let (number_, node, protocol) =
            (number(port, "port"), number(port, "nodePort"), text(port, "protocol"));
        if node > 0 { format!("{number_}:{node}/{protocol}") } else { format!("{number_}/{protocol}") }
    });
    ports.collect::<Vec<_>>().join(",")
}

fn external(service: &Value) -> String {
    let given: Vec<&str> = list(service, "spec.externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "spec.type") {
        "ClusterIP" | "NodePort" if given.is_empty() => NONE.to_owned(),
        "ClusterIP" | "NodePort" => given.join(","),
        "LoadBalancer" => {
            let mut all = load_balancer(service);
            all.extend(given.into_iter().map(str::to_owned));
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(service, "spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Addresses of the load balancer, sorted.
fn load_balancer(object: &Value) -> Vec<String> {
    let addresses: BTreeSet<&str> = list(object, "status.loadBalancer.ingress")
        .iter()
        .map(|ingress| match text(ingress, "ip") {
            "" => text(ingress, "hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.into_iter().map(str::to_owned).collect()
}

/// The first elements, and how many more there are.
fn shortened(all: &[String], none: &str) -> String {
    match all.len() {
        0 => none.to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN),
        _ => all.join(","),
    }
}

/// `kubectl get endpoints`.
pub(crate) static ENDPOINTS: Printer = Printer {
    columns: &[NAME, column("Endpoints", "string"), AGE],
    row: |object, now| vec![name(object), Cell::from(endpoints(object)), age(object, now)],
};

fn endpoints(object: &Value) -> String {
    let subsets = list(object, "subsets");
    if subsets.is_empty() {
        return NONE.to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = || list(subset, "addresses").iter().map(|address| text(address, "ip"));
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let port = number(port, "port");
            all.extend(
                addresses().map(|ip| {
                    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
                }),
            );
        }
    }
    shortened(&all, "")
}

/// `kubectl get endpointslices`.
pub(crate) static ENDPOINT_SLICE: Printer = Printer {
    columns: &[
        NAME,
        column("AddressType", "string"),
        column("Ports", "string"),
        column("Endpoints", "string"),
        AGE,
    ],
    row: |object, now| {
        let ports: Vec<String> = list(object, "ports")
            .iter()
            .map(|port| match (at(port, "port").as_i64(), text(port, "name")) {
                (Some(number), _) => number.to_string(),
                (None, "") => "*".to_owned(),
                (None, name) => name.to_owned(),
            })
            .collect();
        let addresses: Vec<String> = list(object, "endpoints")
            .iter()
            .flat_map(|endpoint| list(endpoint, "addresses"))
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect();
        vec![
            name(object),
            Cell::from(text(object, "addressType")),
            Cell::from(shortened(&ports, "<unset>")),
            Cell::from(shortened(&addresses, "<unset>")),
            age(object, now),
        ]
    },
};

/// `kubectl get ingresses`.
pub(crate) static INGRESS: Printer = Printer {
    columns: &[
        NAME,
        column("Class", "string"),
        column("Hosts", "string"),
        column("Address", "string"),
        column("Ports", "string"),
        AGE,
    ],
    row: |object, now| {
        let class = match at(object, "spec.ingressClassName").as_str() {
            Some(class) => class,
            None => NONE,
        };
        let tls = !list(object, "spec.tls").is_empty();
        vec![
            name(object),
            Cell::from(class),
            Cell::from(hosts(object)),
            Cell::from(load_balancer(object).join(",")),
            Cell::from(if tls { "80, 443" } else { "80" }),
            age(object, now),
        ]
    },
};

fn hosts(ingress: &Value) -> String {
    let hosts: Vec<String> = list(ingress, "spec.rules")
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    shortened(&hosts, "*")
}

/// `kubectl get ingressclasses`.
pub(crate) static INGRESS_CLASS: Printer = Printer {
    columns: &[NAME, column("Controller", "string"), column("Parameters", "string"), AGE],
    row: |object, now| {
        let parameters = at(object, "spec.parameters");
        let shown = if parameters.is_null() {
            NONE.to_owned()
        } else {
            let (kind, name) = (text(parameters, "kind"), text(parameters, "name"));
            match text(parameters, "apiGroup") {
                "" => format!("{kind}/{name}"),
                group => format!("{kind}.{group}/{name}"),
            }
        };
        vec![name(object), Cell::from(text(object, "spec.controller")), Cell::from(shown), age(object, now)]
    },
};

/// `kubectl get networkpolicies`.
pub(crate) static NETWORK_POLICY: Printer = Printer {
    columns: &[NAME, column("Pod-Selector", "string"), AGE],
    row: |object, now| vec![name(object), selector(at(object, "spec.podSelector")), age(object, now)],
};

/// `kubectl get servicecidrs`.
pub(crate) static SERVICE_CIDR: Printer = Printer {
    columns: &[NAME, column("CIDRs", "string"), AGE],
    row: |object, now| vec![name(object), super::pod::texts(object, "spec.cidrs"), age(object, now)],
};

/// `kubectl get ipaddresses`.
pub(crate) static IP_ADDRESS: Printer = Printer {
    columns: &[NAME, column("ParentRef", "string")],
    row: |object, _| {
        let parent = at(object, "spec.parentRef");
        let mut shown = text(parent, "resource").to_owned();
        if !text(parent, "group").is_empty() {
            shown = format!("{shown}.{}", text(parent, "group"));
        }
        for part in [text(parent, "namespace"), text(parent, "name")] {
            if !part.is_empty() {
                shown = format!("{shown}/{part}");
            }
        }
        vec![name(object), Cell::from(shown)]
    },
};
