//! Where a pod may run: tolerations, affinities, spreading.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint,
};

use super::{POSITIVE, all_invalid, one_of, optional_one_of, plain, required, selector};
use crate::field::{Errors, Path};
use crate::names;
use crate::typed::encode::to_value;

/// Effects of taints.
pub(super) const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// All of a pod's wishes.
pub(super) fn scheduling(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    tolerations(errors, &path.child("tolerations"), spec.tolerations.as_deref().unwrap_or_default());
    if let Some(affinity) = &spec.affinity {
        self::affinity(errors, &path.child("affinity"), affinity);
    }
    spreading(
        errors,
        &path.child("topologySpreadConstraints"),
        spec.topology_spread_constraints.as_deref().unwrap_or_default(),
    );
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.child("schedulingGates").index(index);
        all_invalid(errors, &path, &gate.name, names::qualified_name(&gate.name));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && spec.node_name.as_deref().is_some_and(|name| !name.is_empty()) {
        errors
            .forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// Tolerations of taints.
pub(super) fn tolerations(errors: &mut Errors, path: &Path, tolerations: &[Toleration]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let (key, value) = (plain(toleration.key.as_ref()), plain(toleration.value.as_ref()));
        let operator = plain(toleration.operator.as_ref());
        let operator_path = path.child("operator");
        if !key.is_empty() {
            all_invalid(errors, &path.child("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            errors.invalid(
                &operator_path,
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        let effect = plain(toleration.effect.as_ref());
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            errors.invalid(
                &path.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "" | "Equal" => {
                let messages = names::label_value(value);
                if !messages.is_empty() {
                    errors.invalid(&operator_path, value, &messages.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&operator_path, to_value(toleration), detail);
            }
            "Exists" => {}
            other => errors.not_supported(&operator_path, other, &["Equal", "Exists"]),
        }
        optional_one_of(errors, &path.child("effect"), Some(effect), &EFFECTS);
    }
}

fn affinity(errors: &mut Errors, path: &Path, affinity: &Affinity) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            node_selector(errors, &path.child(REQUIRED), required);
        }
        for (index, term) in
            node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate()
        {
            let path = path.child(PREFERRED).index(index);
            weight(errors, &path.child("weight"), term.weight);
            node_term(errors, &path.child("preference"), &term.preference);
        }
    }
    let pods = affinity.pod_affinity.as_ref().map(|pods| {
        (
            "podAffinity",
            pods.required_during_scheduling_ignored_during_execution.as_deref(),
            pods.preferred_during_scheduling_ignored_during_execution.as_deref(),
        )
    });
    let others = affinity.pod_anti_affinity.as_ref().map(|pods| {
        (
            "podAntiAffinity",
            pods.required_during_scheduling_ignored_during_execution.as_deref(),
            pods.preferred_during_scheduling_ignored_during_execution.as_deref(),
        )
    });
    for (name, required, preferred) in pods.into_iter().chain(others) {
        let path = path.child(name);
        for (index, term) in required.unwrap_or_default().iter().enumerate() {
            pod_term(errors, &path.child(REQUIRED).index(index), term);
        }
        for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
            let path = path.child(PREFERRED).index(index);
            weight(errors, &path.child("weight"), term.weight);
            pod_term(errors, &path.child("podAffinityTerm"), &term.pod_affinity_term);
        }
    }
}

fn weight(errors: &mut Errors, path: &Path, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.invalid(path, weight, "must be in the range 1-100");
    }
}

/// Terms that a node must match one of.
pub(super) fn node_selector(errors: &mut Errors, path: &Path, selector: &NodeSelector) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        node_term(errors, &path.index(index), term);
    }
}

fn node_term(errors: &mut Errors, path: &Path, term: &NodeSelectorTerm) {
    for (name, list) in [("matchExpressions", &term.match_expressions), ("matchFields", &term.match_fields)] {
        for (index, requirement) in list.iter().flatten().enumerate() {
            let path = path.child(name).index(index);
            let count = requirement.values.as_ref().map_or(0, Vec::len);
            let values = path.child("values");
            match requirement.operator.as_str() {
                "In" | "NotIn" if count == 0 => {
                    errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
                }
                "Exists" | "DoesNotExist" if count > 0 => errors
                    .forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
                "Gt" | "Lt" if count != 1 => {
                    errors
                        .required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
                other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
            }
            let key = requirement.key.as_str();
            if name == "matchExpressions" {
                all_invalid(errors, &path.child("key"), key, names::qualified_name(key));
            } else if key != "metadata.name" {
                errors.invalid(&path.child("key"), key, "not a valid field selector key");
            }
        }
    }
}

fn pod_term(errors: &mut Errors, path: &Path, term: &PodAffinityTerm) {
    if term.topology_key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    } else {
        let key = term.topology_key.as_str();
        all_invalid(errors, &path.child("topologyKey"), key, names::qualified_name(key));
    }
    for (name, given) in
        [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)]
    {
        if let Some(given) = given {
            selector(errors, &path.child(name), given);
        }
    }
}

fn spreading(errors: &mut Errors, path: &Path, constraints: &[TopologySpreadConstraint]) {
    let mut seen = BTreeSet::new();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), constraint.max_skew, POSITIVE);
        }
        let key = constraint.topology_key.as_str();
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        } else {
            all_invalid(errors, &path.child("topologyKey"), key, names::qualified_name(key));
        }
        let action = constraint.when_unsatisfiable.as_str();
        if required(errors, &path.child("whenUnsatisfiable"), action).is_some() {
            one_of(errors, &path.child("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        if let Some(domains) = constraint.min_domains {
            if domains <= 0 {
                errors.invalid(&path.child("minDomains"), domains, POSITIVE);
            } else if action != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&path.child("minDomains"), domains, &detail);
            }
        }
        if !seen.insert((key, action)) {
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), format!("{{{key}, {action}}}"));
        }
        if let Some(given) = &constraint.label_selector {
            selector(errors, &path.child("labelSelector"), given);
        }
    }
}
