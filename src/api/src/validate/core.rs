//! Namespaces, nodes, events and other kinds of the core group.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Endpoints, Event, LimitRange, Namespace, Node, NodeSpec, ReplicationController, ResourceQuota, Taint,
};

use super::scheduling::EFFECTS;
use super::{IP_ADDRESS, all_invalid, not_negative, one_of, plain, pod, port_number, required, resources};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;

/// A new namespace.
pub(crate) fn namespace(object: &Namespace) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec").child("finalizers");
    for name in object.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten()) {
        all_invalid(&mut errors, &path, name, names::qualified_name(name));
        if !name.contains('/') && name != "kubernetes" {
            errors.invalid(
                &path,
                name.as_str(),
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
    errors
}

/// A changed namespace.
pub(crate) fn namespace_update(new: &Namespace, _: &Namespace, _: Part<'_>) -> Errors {
    namespace(new)
}

/// A new node.
pub(crate) fn node(object: &Node) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    if let Some(spec) = &object.spec {
        taints(&mut errors, &path.child("taints"), spec.taints.as_deref().unwrap_or_default());
        for (index, cidr) in spec.pod_cidrs.iter().flatten().enumerate() {
            if !is_cidr(cidr) {
                let path = path.child("podCIDRs").index(index);
                errors.invalid(
                    &path,
                    cidr.as_str(),
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                );
            }
        }
    }
    errors
}

/// Whether a text is an address and a length of prefix.
fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>()) else { return false };
    length <= if address.is_ipv4() { 32 } else { 128 }
}

fn taints(errors: &mut Errors, path: &Path, taints: &[Taint]) {
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        all_invalid(errors, &path.child("key"), &taint.key, names::qualified_name(&taint.key));
        let value = plain(taint.value.as_ref());
        let messages = names::label_value(value);
        if !messages.is_empty() {
            errors.invalid(&path.child("value"), value, &messages.join(";"));
        }
        one_of(errors, &path.child("effect"), &taint.effect, &EFFECTS);
        if !seen.insert((&taint.key, &taint.effect)) {
            errors.duplicate(&path, crate::typed::encode::to_value(taint));
        }
    }
}

/// A node keeps its addresses of pods and its id at the provider.
pub(crate) fn node_update(new: &Node, old: &Node, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = node(new);
    let path = Path::new("spec");
    let empty = NodeSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let kept = |new: &Option<String>, old: &Option<String>| {
        let before = plain(old.as_ref());
        before.is_empty() || before == plain(new.as_ref())
    };
    let cidrs = |spec: &NodeSpec| spec.pod_cidrs.clone().unwrap_or_default();
    if !kept(&new.pod_cidr, &old.pod_cidr) || (!cidrs(old).is_empty() && cidrs(new) != cidrs(old)) {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&path.child("podCIDRs"), detail);
    }
    if !kept(&new.provider_id, &old.provider_id) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&path.child("providerID"), detail);
    }
    errors
}

/// A new event is in the namespace of its object.
pub(crate) fn event(object: &Event) -> Errors {
    let mut errors = Errors::new();
    let namespace = plain(object.metadata.namespace.as_ref());
    let of_object = plain(object.involved_object.namespace.as_ref());
    let path = Path::new("involvedObject").child("namespace");
    if of_object.is_empty() {
        if namespace != "default" && namespace != "kube-system" {
            errors.invalid(&path, of_object, "does not match event.namespace");
        }
    } else if of_object != namespace {
        errors.invalid(&path, of_object, "does not match event.namespace");
    }
    errors
}

/// A new replication controller.
pub(crate) fn replication_controller(object: &ReplicationController) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else {
        errors.required(&path.child("selector"), "");
        return errors;
    };
    not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    let selector = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        errors.required(&path.child("selector"), "");
    }
    not_negative(&mut errors, &path.child("replicas"), spec.replicas);
    let Some(template) = &spec.template else {
        errors.required(&path.child("template"), "");
        return errors;
    };
    let template_path = path.child("template");
    let labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    if !selector.is_empty() && selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
        errors.invalid(
            &template_path.child("metadata").child("labels"),
            serde_json::json!(labels),
            "`selector` does not match template `labels`",
        );
    }
    pod::template(&mut errors, &template_path, template);
    super::apps::always(&mut errors, &template_path, template, "ReplicationController");
    errors
}

/// A changed replication controller.
pub(crate) fn replication_controller_update(
    new: &ReplicationController,
    _: &ReplicationController,
    part: Part<'_>,
) -> Errors {
    if part == Part::Main { replication_controller(new) } else { Errors::new() }
}

/// New endpoints.
pub(crate) fn endpoints(object: &Endpoints) -> Errors {
    let mut errors = Errors::new();
    for (index, subset) in object.subsets.iter().flatten().enumerate() {
        let path = Path::new("subsets").index(index);
        let (ready, waiting) =
            (subset.addresses.iter().flatten(), subset.not_ready_addresses.iter().flatten());
        if ready.clone().chain(waiting.clone()).next().is_none() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for (field, address) in
            ready.enumerate().map(|(index, address)| (path.child("addresses").index(index), address)).chain(
                waiting.enumerate().map(|(i, address)| (path.child("notReadyAddresses").index(i), address)),
            )
        {
            if address.ip.parse::<IpAddr>().is_err() {
                errors.invalid(&field.child("ip"), address.ip.as_str(), IP_ADDRESS);
            }
        }
        let ports = subset.ports.as_deref().unwrap_or_default();
        for (index, port) in ports.iter().enumerate() {
            let path = path.child("ports").index(index);
            if ports.len() > 1 && plain(port.name.as_ref()).is_empty() {
                errors.required(&path.child("name"), "");
            }
            port_number(&mut errors, &path.child("port"), port.port);
            one_of(
                &mut errors,
                &path.child("protocol"),
                plain(port.protocol.as_ref()),
                &["SCTP", "TCP", "UDP"],
            );
        }
    }
    errors
}

/// Changed endpoints.
pub(crate) fn endpoints_update(new: &Endpoints, _: &Endpoints, _: Part<'_>) -> Errors {
    endpoints(new)
}

/// A new quota.
pub(crate) fn quota(object: &ResourceQuota) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec").child("hard");
    for (name, quantity) in object.spec.iter().flat_map(|spec| spec.hard.iter().flatten()) {
        let path = path.key(name);
        all_invalid(&mut errors, &path, name, names::qualified_name(name));
        if resources::parse(quantity).is_some_and(|amount| amount.is_negative()) {
            errors.invalid(&path, quantity.0.as_str(), super::NOT_NEGATIVE);
        }
    }
    errors
}

/// A changed quota.
pub(crate) fn quota_update(new: &ResourceQuota, _: &ResourceQuota, _: Part<'_>) -> Errors {
    quota(new)
}

/// A new limit range: the smallest is below the usual, the usual below the largest.
pub(crate) fn limit_range(object: &LimitRange) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for (index, item) in object.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
        let path = Path::new("spec").child("limits").index(index);
        if required(&mut errors, &path.child("type"), &item.type_).is_some() && !seen.insert(&item.type_) {
            errors.duplicate(&path.child("type"), item.type_.as_str());
        }
        let lists = [
            ("min", &item.min),
            ("defaultRequest", &item.default_request),
            ("default", &item.default),
            ("max", &item.max),
        ];
        for (low, (name, list)) in lists.iter().enumerate() {
            for (resource, quantity) in list.iter().flatten() {
                for (above, more) in &lists[low + 1..] {
                    let Some(other) = more.as_ref().and_then(|more| more.get(resource)) else { continue };
                    if resources::parse(quantity) > resources::parse(other) {
                        let detail =
                            format!("{name} value {} is greater than {above} value {}", quantity.0, other.0);
                        errors.invalid(&path.child(name).key(resource), quantity.0.as_str(), &detail);
                    }
                }
            }
        }
    }
    errors
}

/// A changed limit range.
pub(crate) fn limit_range_update(new: &LimitRange, _: &LimitRange, _: Part<'_>) -> Errors {
    limit_range(new)
}
